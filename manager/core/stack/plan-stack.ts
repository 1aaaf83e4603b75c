import { HatobaError } from '../../../common/errors.js';
import { STACK_LABEL } from '../../../common/model/labels.js';
import type {
  Network,
  Service,
  ServiceSpec,
  Stack,
  StackSpec,
} from '../../../common/model/objects.js';
import type { StackChange } from '../../../proto/gen/hatoba/v1/control.js';
import type { NetworkSpec } from '../../../proto/gen/hatoba/v1/types.js';
import { grantGuard, NetworkGrants } from '../allocator/network-grants.js';
import { portsHeldBy, PortTable } from '../allocator/ports.js';
import { equalData } from '../equal.js';
import { EMPTY_PLAN, type PlanContext } from '../plan-context.js';
import {
  networkGuards,
  networkIds,
  newService,
  resolveNetworks,
  withSpec,
} from '../service/plan-service-update.js';
import { revisionChanges } from '../service/revisions.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import { planNetwork } from '../network/plan-network.js';
import { NetworkRoom } from '../network/room.js';
import { usersOf } from '../network/users.js';
import { networkWithDefaults } from '../validate/network-spec.js';
import type { Problem } from '../validate/problem.js';
import { validateServiceSpec, withDefaults } from '../validate/service-spec.js';
import { validateStackSpec } from '../validate/stack-spec.js';

/** What deploying a stack comes to. With problems, the plan is empty. */
export interface StackPlan {
  plan: Plan;
  /** As it will be stored. */
  stack: Stack;
  /** Every part, also those that stay as they are: networks, then services, by name. */
  changes: StackChange[];
  problems: readonly Problem[];
}

export interface StackOptions extends PlanContext {
  /** Remove parts of the stack that the spec no longer has. */
  prune: boolean;
  /**
   * The id of a network that is to be made. When the plan is made again after a part of it could
   * not be written, services that were made already know the network by its first id.
   */
  networkId?: (name: string) => string;
}

/** Services, networks and the stack itself. */
const MAX_PARTS_AT_ONCE = 40;
/** Of keys in a transaction: those of the plan's guards are among them. */
const MAX_COMPARISONS = 128;

/**
 * The whole stack as one step: what is new is created, what differs is updated, what is equal is
 * left alone; all of it or, where anything in it is wrong, nothing. Parts that are still being
 * removed are taken back into service. (A stack of more than 40 parts takes several steps,
 * networks first.)
 */
export function planStack(snapshot: Snapshot, spec: StackSpec, options: StackOptions): StackPlan {
  return new StackPlanner(snapshot, normalized(spec), options).plan();
}

function normalized(spec: StackSpec): StackSpec {
  const labelled = <T extends ServiceSpec | NetworkSpec>(part: T): T => ({
    ...part,
    labels: { ...part.labels, [STACK_LABEL]: spec.name },
  });
  return {
    ...spec,
    services: spec.services.map((s) => labelled(withDefaults(s))),
    networks: spec.networks.map((n) => labelled(networkWithDefaults(n))),
  };
}

class StackPlanner {
  readonly #snapshot: Snapshot;
  readonly #spec: StackSpec;
  readonly #options: StackOptions;
  readonly #problems: Problem[] = [];
  readonly #writes: Change[][] = [];
  readonly #changes: StackChange[] = [];
  readonly #networkIds: Map<string, string>;
  readonly #services: Service[] = [];
  readonly #grants: NetworkGrants;
  readonly #newNetworks: Network[] = [];

  constructor(snapshot: Snapshot, spec: StackSpec, options: StackOptions) {
    this.#snapshot = snapshot;
    this.#spec = spec;
    this.#options = options;
    this.#networkIds = networkIds(snapshot);
    this.#grants = new NetworkGrants(snapshot);
  }

  plan(): StackPlan {
    this.#problems.push(...validateStackSpec(this.#spec));
    this.#spec.networks.forEach((spec, i) => {
      this.#network(spec, `networks[${i}]`);
    });
    const ports = this.#portsOfOthers();
    this.#spec.services.forEach((spec, i) => {
      this.#service(spec, `services[${i}]`, ports);
    });
    this.#checkRoom();
    const stack = this.#stack();
    if (this.#options.prune) this.#prune();
    this.#changes.sort((a, b) => compareWords(a.kind, b.kind) || compareWords(a.name, b.name));
    const problems = this.#problems;
    if (problems.length > 0) return { plan: EMPTY_PLAN, stack, changes: [], problems };
    return { plan: this.#toPlan(), stack, changes: this.#changes, problems };
  }

  #network(spec: NetworkSpec, path: string): void {
    const there = [...this.#snapshot.networks()].find((n) => n.spec.name === spec.name);
    if (there === undefined) {
      this.#newNetwork(spec, path);
      return;
    }
    if (!isOfStack(there, this.#spec.name)) {
      this.#problem(path, `network ${spec.name} exists and is not of stack ${this.#spec.name}`);
      return;
    }
    const known = networkWithDefaults(there.spec); // options may have been stored as they came
    if (!equalData({ ...known, labels: {} }, { ...spec, labels: {} })) {
      this.#problem(path, `network ${spec.name} exists and cannot be changed: remove it first`);
      return;
    }
    const object = { ...there, spec, pendingDelete: false };
    if (equalData(object, there)) this.#note('STACK_CHANGE_ACTION_NONE', 'network', there);
    else this.#write({ action: 'update', kind: 'network', object });
  }

  #newNetwork(spec: NetworkSpec, path: string): void {
    const { nowMs, newId, networkId = newId } = this.#options;
    const context = { nowMs, newId: () => networkId(spec.name) };
    const made = planNetwork(this.#snapshot, spec, context, this.#grants);
    this.#addProblems(path, made.problems);
    this.#networkIds.set(spec.name, made.network.id);
    this.#newNetworks.push(made.network);
    this.#write({ action: 'create', kind: 'network', object: made.network });
  }

  #service(spec: ServiceSpec, path: string, ports: PortTable): void {
    const there = [...this.#snapshot.services()].find((s) => s.spec.name === spec.name);
    if (there !== undefined && !isOfStack(there, this.#spec.name)) {
      this.#problem(path, `service ${spec.name} exists and is not of stack ${this.#spec.name}`);
      return;
    }
    const context = {
      ...(there === undefined ? {} : { serviceId: there.id }),
      newNetworks: new Set(this.#spec.networks.map((n) => n.name)),
      ports,
    };
    this.#addProblems(path, validateServiceSpec(spec, this.#snapshot, context));
    const resolved = resolveNetworks(spec, this.#networkIds);
    const service = there ?? newService(resolved, this.#options);
    for (const port of spec.endpointSpec.ports) ports.claim({ id: service.id, spec }, port);
    if (there === undefined) {
      this.#services.push(service);
      this.#writeService(undefined, service);
      return;
    }
    const revived = there.pendingDelete ? { ...there, pendingDelete: false } : there;
    const object = withSpec(this.#snapshot, revived, resolved, this.#options.nowMs) ?? revived;
    this.#services.push(object);
    if (object === there) this.#note('STACK_CHANGE_ACTION_NONE', 'service', there);
    else this.#writeService(there, object);
  }

  #writeService(before: Service | undefined, object: Service): void {
    const { nowMs } = this.#options;
    const cause = before === undefined ? 'created' : `deployed with stack ${this.#spec.name}`;
    this.#write(
      { action: before === undefined ? 'create' : 'update', kind: 'service', object },
      revisionChanges(before, object, cause, nowMs),
    );
  }

  /** Networks and services that are wrong by themselves are to be put right first. */
  #checkRoom(): void {
    if (this.#problems.length > 0) return;
    const room = new NetworkRoom(this.#snapshot, this.#newNetworks);
    for (const service of this.#services) {
      const index = this.#spec.services.findIndex((s) => s.name === service.spec.name);
      this.#addProblems(`services[${index}]`, room.check(service));
    }
  }

  /** Of the services that stay beside this stack; its own ports are claimed one by one. */
  #portsOfOthers(): PortTable {
    const table = new PortTable();
    const declared = new Set(this.#spec.services.map((s) => s.name));
    for (const service of this.#snapshot.services()) {
      const isOwn = isOfStack(service, this.#spec.name);
      if (isOwn && (declared.has(service.spec.name) || this.#options.prune)) continue;
      for (const port of portsHeldBy(service)) table.claim(service, port);
    }
    return table;
  }

  #stack(): Stack {
    const there = [...this.#snapshot.stacks()].find((s) => s.spec.name === this.#spec.name);
    if (there === undefined) {
      const object = newStack(this.#spec, this.#options);
      this.#writes.push([{ action: 'create', kind: 'stack', object }]);
      return object;
    }
    const object = { ...there, spec: this.#spec, pendingDelete: false };
    if (!equalData(object, there)) this.#writes.push([{ action: 'update', kind: 'stack', object }]);
    return object;
  }

  #prune(): void {
    const services = new Set(this.#spec.services.map((s) => s.name));
    const networks = new Set(this.#spec.networks.map((n) => n.name));
    for (const service of this.#snapshot.services()) {
      if (isOfStack(service, this.#spec.name) && !services.has(service.spec.name)) {
        this.#markService(service);
      }
    }
    for (const network of this.#snapshot.networks()) {
      const isLeft = isOfStack(network, this.#spec.name) && !networks.has(network.spec.name);
      if (
        isLeft &&
        usersOf(this.#snapshot, network, { besidesStack: this.#spec.name }).length === 0
      ) {
        this.#markNetwork(network);
      }
    }
  }

  #markService(service: Service): void {
    if (service.pendingDelete) return;
    const object = { ...service, pendingDelete: true };
    this.#writes.push([{ action: 'update', kind: 'service', object }]);
    this.#note('STACK_CHANGE_ACTION_REMOVE', 'service', service);
  }

  #markNetwork(network: Network): void {
    if (network.pendingDelete) return;
    const object = { ...network, pendingDelete: true };
    this.#writes.push([{ action: 'update', kind: 'network', object }]);
    this.#note('STACK_CHANGE_ACTION_REMOVE', 'network', network);
  }

  /** @param further what must be written in the same step */
  #write(
    change: Extract<Change, { kind: 'service' | 'network' }>,
    further: readonly Change[] = [],
  ): void {
    this.#writes.push([change, ...further]);
    const action = change.action === 'create' ? 'CREATE' : 'UPDATE';
    this.#note(`STACK_CHANGE_ACTION_${action}`, change.kind, change.object);
  }

  #note(action: StackChange['action'], kind: string, object: Service | Network): void {
    this.#changes.push({ action, kind, name: object.spec.name, id: object.id });
  }

  #problem(path: string, message: string): void {
    this.#problems.push({ path, message, kind: 'already-exists' });
  }

  #addProblems(path: string, problems: readonly Problem[]): void {
    for (const p of problems) {
      this.#problems.push({ ...p, path: p.path === '' ? path : `${path}.${p.path}` });
    }
  }

  /** Each step that makes networks carries the guard of what they were granted. */
  #steps(guards: number): Change[][] {
    return inSteps(this.#writes, guards).map((step) => {
      const makesNetwork = step.some((c) => c.kind === 'network' && c.action === 'create');
      return makesNetwork ? [...step, ...grantGuard(this.#snapshot)] : step;
    });
  }

  #toPlan(): Plan {
    const written = new Set(this.#writes.flat().map((c) => c.object.id));
    const guards = networkGuards(this.#snapshot, this.#services).filter(
      (g) => !written.has(g.object.id),
    );
    return { groups: this.#steps(guards.length), guards };
  }
}

/**
 * Marks the stack and all its parts; the reaper removes them when the tasks are gone.
 * @throws {HatobaError} not-found; failed-precondition when others use its networks
 */
export function planRemoveStack(snapshot: Snapshot, stackId: string): StackPlan {
  const stack = snapshot.stack(stackId);
  if (stack === undefined) throw new HatobaError('not-found', `there is no stack ${stackId}`);
  const { name } = stack.spec;
  const networks = [...snapshot.networks()].filter((n) => isOfStack(n, name));
  for (const network of networks) {
    const users = usersOf(snapshot, network, { besidesStack: name });
    if (users.length === 0) continue;
    throw new HatobaError(
      'failed-precondition',
      `network ${network.spec.name} of stack ${name} is used by ${users.join(', ')}: ` +
        'remove them first',
    );
  }
  const services = [...snapshot.services()].filter((s) => isOfStack(s, name));
  const marked: Change[] = [
    ...services.map((s): Change => ({ action: 'update', kind: 'service', object: marks(s) })),
    ...networks.map((n): Change => ({ action: 'update', kind: 'network', object: marks(n) })),
    { action: 'update', kind: 'stack', object: marks(stack) },
  ];
  const isNew = (c: Change): boolean => !equalData(c.object, objectThere(snapshot, c));
  const changes = [...networks, ...services].map((o): StackChange => ({
    action: 'STACK_CHANGE_ACTION_REMOVE',
    kind: 'endpoint' in o ? 'service' : 'network',
    name: o.spec.name,
    id: o.id,
  }));
  const plan = { groups: inSteps(marked.filter(isNew).map((c) => [c])) };
  return { plan, stack: marks(stack), changes, problems: [] };
}

function marks<T extends Service | Network | Stack>(object: T): T {
  return { ...object, pendingDelete: true };
}

function objectThere(snapshot: Snapshot, { kind, object }: Change): unknown {
  if (kind === 'service') return snapshot.service(object.id);
  return kind === 'network' ? snapshot.network(object.id) : snapshot.stack(object.id);
}

/**
 * As few steps as hold the parts, in order.
 * @param parts each what must be written together
 * @param guards how many each step carries besides
 */
function inSteps(parts: readonly (readonly Change[])[], guards = 0): Change[][] {
  const room = MAX_COMPARISONS - guards - 1; // for the guard of what networks are granted
  const steps: Change[][] = [];
  let [partsLeft, comparisonsLeft] = [0, 0];
  for (const part of parts) {
    const comparisons = part.reduce((sum, change) => sum + comparisonsOf(change), 0);
    if (partsLeft === 0 || comparisons > comparisonsLeft) {
      steps.push([]);
      [partsLeft, comparisonsLeft] = [MAX_PARTS_AT_ONCE, room];
    }
    steps.at(-1)?.push(...part);
    partsLeft -= 1;
    comparisonsLeft -= comparisons;
  }
  return steps;
}

/** What is created needs its key, and most kinds their name. */
function comparisonsOf({ action, kind }: Change): number {
  return action === 'create' && kind !== 'revision' ? 2 : 1;
}

function isOfStack(
  object: { spec: { labels: Readonly<Record<string, string>> } },
  stack: string,
): boolean {
  return object.spec.labels[STACK_LABEL] === stack;
}

function newStack(spec: StackSpec, { nowMs, newId }: PlanContext): Stack {
  const times = { createdAtMs: nowMs, updatedAtMs: nowMs };
  return { id: newId(), version: 0, ...times, spec, pendingDelete: false };
}

function compareWords(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
