import { newId } from '../../../common/model/ids.js';
import type { Logger } from '../../../common/logger.js';
import type { Random } from '../../../common/random.js';
import { leadTerm } from '../../../manager/controllers/term.js';
import { AssignmentModel } from '../../../manager/core/assignments/assignment-model.js';
import { Election } from '../../../manager/leader/election.js';
import { networkMethods } from '../../../manager/rpc/control/networks.js';
import { nodeMethods } from '../../../manager/rpc/control/nodes.js';
import { rolloutMethods } from '../../../manager/rpc/control/rollouts.js';
import { serviceMethods } from '../../../manager/rpc/control/services.js';
import { stackMethods } from '../../../manager/rpc/control/stacks.js';
import { DispatcherServer } from '../../../manager/rpc/dispatcher-server.js';
import type { ProbeAnswer } from '../../../manager/rpc/host-probe.js';
import type { Store } from '../../../manager/store/store.js';
import { Reflector } from '../../../manager/view/reflector.js';
import { View } from '../../../manager/view/view.js';
import type { SimProcess } from './process.js';

export interface ManagerModules {
  readonly process: SimProcess;
  readonly store: Store;
  readonly random: Random;
  readonly logger: Logger;
  /** What the control loops see in place of the view. */
  readonly loopView: (view: View) => View;
  readonly probe: (agentAddress: string) => Promise<ProbeAnswer>;
}

/** The parts of a manager as manager/compose.ts puts them together, without sockets, CA and etcd. */
export class SimManager {
  readonly nodeId: string;
  readonly view = new View();
  /** Undefined until the view shows a first list. */
  dispatcher: DispatcherServer<unknown> | undefined;
  control: ReturnType<typeof controlOf> | undefined;
  readonly #modules: ManagerModules;
  #election: Election | undefined;

  constructor(options: { nodeId: string }, modules: ManagerModules) {
    this.nodeId = options.nodeId;
    this.#modules = modules;
  }

  get isLeading(): boolean {
    return this.#election?.current !== undefined;
  }

  /** Starts; must not fail, as everything that could keeps trying. */
  async run(address: string): Promise<void> {
    const { process, store, random, logger, probe } = this.#modules;
    const { view, nodeId } = this;
    const modules = { store, view, clock: process, random, logger };
    const reflector = new Reflector(modules);
    await reflector.start();
    const own = { nodeId, address };
    const onSession = (): void => undefined;
    const assignments = { model: new AssignmentModel(), onSession };
    const dispatcher = new DispatcherServer({
      ...{ cluster: modules, own, random, logger, probe },
      ...assignments,
    });
    this.dispatcher = dispatcher;
    this.control = controlOf({ cluster: modules, networks: dispatcher, own, random });
    this.#election = new Election(modules, { nodeId });
    const end = new AbortController();
    const loops = { ...modules, view: this.#modules.loopView(view) };
    await this.#election.run((leadership) => leadTerm(leadership, loops), end.signal);
  }

  newId(): string {
    return newId(this.#modules.random);
  }
}

function controlOf(modules: Parameters<typeof serviceMethods>[0]) {
  return {
    ...serviceMethods(modules),
    ...rolloutMethods(modules),
    ...nodeMethods(modules),
    ...networkMethods(modules),
    ...stackMethods(modules),
  };
}
