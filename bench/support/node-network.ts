/**
 * The network path of one node, in the network namespace that it was started in: a session with the
 * manager, its assignments and the network driver are an agent's own, only tasks are not run. Takes
 * NodeOptions as one line of stdin, writes what it sees as JSON lines, ends with its stdin.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../common/adapters/system-clock.js';
import { systemRandom } from '../../common/adapters/system-random.js';
import { createWinstonLogger } from '../../common/adapters/winston-logger.js';
import { openKernel } from '../../linux/kernel.js';
import { NetworkApplier } from '../../node-agent/executor/network-applier.js';
import { describeNode } from '../../node-agent/session/describe-node.js';
import { connectGrpcDispatcher } from '../../node-agent/session/grpc-dispatcher.js';
import { Session } from '../../node-agent/session/session.js';
import { StatusReporter } from '../../node-agent/session/status-reporter.js';
import { NetworkFile } from '../../node-agent/state/network-file.js';
import { AssignmentSink } from '../../node-agent/worker/assignment-sink.js';
import type { NetworkState } from '../../overlay-net/driver.js';
import { openNetworkDriver } from '../../overlay-net/linux-driver.js';
import type { TlsIdentity } from '../../proto/wire/tls.js';

export interface NodeOptions {
  readonly nodeId: string;
  readonly address: string;
  readonly manager: string;
  readonly identity: TlsIdentity;
  readonly folder: string;
}

/** What is so from `atNs` on, by the clock that all processes of the machine share. */
export type Sight = { readonly atNs: string } & (
  | { readonly what: 'endpoint'; readonly taskId: string; readonly state: EndpointSight }
  | { readonly what: 'order'; readonly taskId: string; readonly desired: string }
);
export type EndpointSight = 'ready' | 'not ready' | 'gone';

function say(sight: Sight): void {
  process.stdout.write(`${JSON.stringify(sight)}\n`);
}

/** Tells of each endpoint that changed, once kernel and names have it. */
class Watcher {
  #before = new Map<string, boolean>();

  onApplied({ endpoints }: NetworkState): void {
    const atNs = String(process.hrtime.bigint());
    const now = new Map(endpoints.map((e) => [e.taskId, e.ready]));
    for (const [taskId, ready] of now) {
      if (this.#before.get(taskId) === ready) continue;
      say({ what: 'endpoint', taskId, state: ready ? 'ready' : 'not ready', atNs });
    }
    for (const taskId of this.#before.keys()) {
      if (!now.has(taskId)) say({ what: 'endpoint', taskId, state: 'gone', atNs });
    }
    this.#before = now;
  }
}

async function run({ nodeId, address, manager, identity, folder }: NodeOptions): Promise<void> {
  const [clock, random] = [systemClock, systemRandom];
  const log = createWinstonLogger({ level: 'warn', format: 'text' });
  const kernel = await openKernel({
    onFailure: (error) => {
      throw error;
    },
  });
  const places = { stateDir: join(folder, 'state'), runDir: join(folder, 'run'), upstreams: [] };
  const driver = await openNetworkDriver(places, { kernel, clock, logger: log });
  const watcher = new Watcher();
  const file = new NetworkFile({ path: join(folder, 'networks'), nodeId }, { clock, log });
  const applying = async (state: NetworkState): Promise<void> => {
    await driver.apply(state);
    watcher.onApplied(state);
  };
  const networks = new NetworkApplier(
    { nodeId, needsCluster: false },
    {
      driver: {
        apply: applying,
        leavingDone: () => driver.leavingDone(),
        endStaleConnections: () => driver.endStaleConnections(),
      },
      localPart: () => ({ networks: [], endpoints: [] }),
      keep: (state) => file.keep(state),
      onChange: () => undefined,
      onShown: () => session.onNetworkApplied(),
      ...{ clock, random, log },
    },
  );
  const worker = {
    assign: ({
      updated,
    }: {
      readonly updated: readonly { id: string; desiredState: string }[];
    }) => {
      const atNs = String(process.hrtime.bigint());
      for (const { id, desiredState } of updated) {
        say({ what: 'order', taskId: id, desired: desiredState, atNs });
      }
    },
    sweep: () => Promise.resolve(),
  };
  const sink = new AssignmentSink({ nodeId, tasks: [] }, { worker, networks, log });
  const description = {
    ...{ hostname: nodeId, labels: {}, version: '0', advertiseAddr: address },
    ...{ dataPathAddr: address, agentPort: 4402, nodeGenericResources: [] },
  };
  const session: Session = new Session({
    connect: (at) => connectGrpcDispatcher(at, identity),
    managers: { addresses: () => [manager], learn: () => Promise.resolve() },
    reporter: new StatusReporter({ clock, random, log }),
    describe: (at) =>
      describeNode(description, at, {
        mtuOf: () => Promise.resolve(1500),
        hostUse: () => Promise.resolve({ hostSubnets: [], usedPorts: [] }),
        images: () => Promise.resolve([]),
      }),
    statuses: () => new Map(),
    appliedNetworkRevision: () => networks.shownRevision,
    onAssignments: (message) => sink.receive(message),
    ...{ clock, random, log },
  });
  const stop = new AbortController();
  const running = session.run(stop.signal);
  await new Promise((resolve) => process.stdin.once('end', resolve).resume());
  stop.abort();
  await running;
  await networks[Symbol.asyncDispose]();
  await file[Symbol.asyncDispose]();
  await driver.teardown();
  await driver[Symbol.asyncDispose]();
  await kernel[Symbol.asyncDispose]();
}

const lines = createInterface({ input: process.stdin });
lines.once('line', (line) => {
  lines.close();
  void run(JSON.parse(line) as NodeOptions);
});
