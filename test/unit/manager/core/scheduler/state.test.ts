import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Node, Task } from '../../../../../common/model/objects.js';
import { isTerminal, isWanted } from '../../../../../common/model/task-state.js';
import { planPending } from '../../../../../manager/core/scheduler/schedule.js';
import { SchedulerState } from '../../../../../manager/core/scheduler/state.js';
import {
  NodeAvailability,
  PlacementStrategy,
  TaskState,
  type DeepPartial,
  type TaskSpec,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, snapshotOf, T0 } from '../../../../support/builders.js';

/** One service for each way of placing. */
const SPECS: readonly DeepPartial<TaskSpec>[] = [
  {},
  { resources: { reservations: { nanoCpus: 1e9 } } },
  { placement: { maxReplicas: 1 } },
  { placement: { spreads: [{ key: 'node.labels.zone', required: true }] } },
  { placement: { preferences: [{ spreadDescriptor: 'node.labels.zone' }] } },
  { placement: { affinities: [{ expression: 'service!=s5' }] } },
  { placement: { affinities: [{ expression: 'service!=s1', topology: 'node.labels.zone' }] } },
  { placement: { affinities: [{ expression: 'service==s0', topology: 'node.labels.zone' }] } },
  { priority: 5, resources: { reservations: { nanoCpus: 2e9 } } },
  {
    resources: { reservations: { generic: [{ kind: 'gpu', count: 1 }] } },
    placement: {
      affinities: [{ expression: 'service!=s9', weight: 5 }],
      strategy: PlacementStrategy.BINPACK,
    },
  },
];
const NODES = 5;
const SLOTS = 3;

/** What happens to the cluster; numbers are taken modulo what there is. */
type Event =
  | { what: 'node'; node: number; zone: number; drained: boolean }
  | { what: 'lose'; node: number }
  | { what: 'task'; service: number; slot: number }
  | { what: 'move-on'; service: number; slot: number; to: TaskState; stop: boolean }
  | { what: 'remove'; service: number; slot: number }
  | { what: 'pass' };

const place = { service: fc.nat(SPECS.length - 1), slot: fc.integer({ min: 1, max: SLOTS }) };
const anEvent: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    what: fc.constant('node' as const),
    node: fc.nat(NODES - 1),
    zone: fc.nat(2),
    drained: fc.boolean(),
  }),
  fc.record({ what: fc.constant('lose' as const), node: fc.nat(NODES - 1) }),
  fc.record({ what: fc.constant('task' as const), ...place }),
  fc.record({
    what: fc.constant('move-on' as const),
    ...place,
    to: fc.constantFrom(TaskState.RUNNING, TaskState.FAILED, TaskState.SHUTDOWN),
    stop: fc.boolean(),
  }),
  fc.record({ what: fc.constant('remove' as const), ...place }),
  fc.record({ what: fc.constant('pass' as const) }),
);

/** Tasks and nodes as they are stored, and a state that is told of each change. */
class World {
  readonly nodes = new Map<string, Node>();
  readonly tasks = new Map<string, Task>();
  readonly kept = new SchedulerState();
  #generation = 0;

  play(event: Event): void {
    if (event.what === 'pass') this.pass();
    else if (event.what === 'node') this.#putNode(event);
    else if (event.what === 'lose') {
      this.nodes.delete(`n${event.node}`);
      this.kept.deleteNode(`n${event.node}`);
    } else if (event.what === 'task') this.#create(event);
    else {
      const task = this.#newest(event);
      if (task === undefined) return;
      if (event.what === 'move-on') this.#moveOn(task, event);
      else {
        this.tasks.delete(task.id);
        this.kept.deleteTask(task.id);
      }
    }
  }

  /** Plans on the state that was kept and on a new one: they agree. */
  pass(): Task[] {
    const anew = SchedulerState.of(
      snapshotOf({ nodes: [...this.nodes.values()], tasks: [...this.tasks.values()] }),
    );
    const changed = (state: SchedulerState): Task[] =>
      planPending(state, T0)
        .groups.flat()
        .map((c) => c.object as Task);
    const tasks = changed(this.kept);
    assert.deepEqual(tasks, changed(anew));
    for (const task of tasks) this.tasks.set(task.id, task);
    return tasks;
  }

  #putNode({ node, zone, drained }: Event & { what: 'node' }): void {
    const stored = aNode({
      id: `n${node}`,
      spec: {
        labels: zone === 0 ? {} : { zone: `z${zone}` },
        ...(drained ? { availability: NodeAvailability.DRAIN } : {}),
      },
      description: {
        resources: { nanoCpus: 4e9, generic: [{ kind: 'gpu', names: ['u1', 'u2'] }] },
        images: zone === 1 ? ['web:1'] : [],
      },
    });
    this.nodes.set(stored.id, stored);
    this.kept.putNode(stored);
  }

  #create({ service, slot }: Event & { what: 'task' }): void {
    this.#put(
      aTask({
        serviceId: `id-s${service}`,
        slot,
        generation: ++this.#generation,
        ...(SPECS[service] === undefined ? {} : { spec: SPECS[service] }),
        status: { state: TaskState.PENDING },
      }),
    );
  }

  #moveOn(task: Task, { to, stop }: Event & { what: 'move-on' }): void {
    if (task.nodeId === '') return;
    const state = isTerminal(task.status.state) ? task.status.state : to;
    const desiredState = stop ? TaskState.SHUTDOWN : task.desiredState;
    this.#put({ ...task, desiredState, status: { ...task.status, state } });
  }

  #newest({ service, slot }: { service: number; slot: number }): Task | undefined {
    const isMeant = (t: Task): boolean => t.serviceId === `id-s${service}` && t.slot === slot;
    return [...this.tasks.values()].findLast(isMeant);
  }

  #put(task: Task): void {
    this.tasks.set(task.id, task);
    this.kept.putTask(task);
  }

  /** Tasks of a service that hold a place on a node. */
  on(nodeIds: readonly string[], service?: number): Task[] {
    return [...this.tasks.values()].filter(
      (t) =>
        nodeIds.includes(t.nodeId) &&
        !isTerminal(t.status.state) &&
        t.status.state !== TaskState.PENDING &&
        (service === undefined || t.serviceId === `id-s${service}`),
    );
  }
}

function slotsOf(tasks: readonly Task[]): Set<number> {
  return new Set(tasks.map((t) => t.slot));
}

/** What each placement must keep to, on the world as it is after the pass. */
function checkPlaced(world: World, placed: readonly Task[]): void {
  for (const task of placed) {
    const service = Number(task.serviceId.slice(4));
    const zone = world.nodes.get(task.nodeId)?.spec.labels['zone'] ?? '';
    const inZone = [...world.nodes.values()]
      .filter((n) => (n.spec.labels['zone'] ?? '') === zone)
      .map((n) => n.id);
    const others = (nodeIds: readonly string[], of: number): Task[] =>
      world.on(nodeIds, of).filter((t) => t.slot !== task.slot || of !== service);
    if (service === 2) assert.equal(others([task.nodeId], 2).filter(isWantedTask).length, 0);
    if (service === 5) assert.equal(others([task.nodeId], 5).length, 0, 'apart from itself');
    if (service === 6) assert.equal(others(inZone, 1).length, 0, 'apart from s1');
    if (service === 1) assert.equal(others(inZone, 6).length, 0, 's6 is to be apart from it');
    if (service === 7) assert.ok(others(inZone, 0).length > 0, 'near to s0');
  }
}

function isWantedTask(task: Task): boolean {
  return isWanted(task.desiredState);
}

describe('the state of the scheduler', () => {
  it('is the same whether kept or built anew, and every placement keeps to its conditions', () => {
    fc.assert(
      fc.property(fc.array(anEvent, { maxLength: 60 }), (events) => {
        const world = new World();
        for (let node = 0; node < 3; node++) {
          world.play({ what: 'node', node, zone: (node % 2) + 1, drained: false });
        }
        for (const event of events) world.play(event);
        const placed = world.pass().filter((t) => t.status.state === TaskState.ASSIGNED);
        checkPlaced(world, placed);
        for (const node of world.nodes.values()) checkRoom(world, node, placed);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps the skew of a condition at every step of a scale-up', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 3 }),
        (zones, replicas, maxSkew) => {
          const nodes = zones.map((z, i) =>
            aNode({ id: `n${i}`, spec: { labels: { zone: `z${z}` } } }),
          );
          const spec = {
            resources: { reservations: { nanoCpus: 1e9 } },
            placement: { spreads: [{ key: 'node.labels.zone', required: true, maxSkew }] },
          };
          const tasks = Array.from({ length: replicas }, (_, i) =>
            aTask({ slot: i + 1, spec, status: { state: TaskState.PENDING } }),
          );
          const state = SchedulerState.of(snapshotOf({ nodes, tasks }));
          const counts = new Map(zones.map((z) => [`z${z}`, 0]));
          for (const { object } of planPending(state, T0).groups.flat()) {
            const { nodeId } = object as Task;
            if (nodeId === '') continue;
            const zone = `z${zones[Number(nodeId.slice(1))] ?? ''}`;
            counts.set(zone, (counts.get(zone) ?? 0) + 1);
            const all = [...counts.values()];
            assert.ok(Math.max(...all) - Math.min(...all) <= maxSkew);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it('forgets a placement that was never written', () => {
    const task = aTask({
      spec: { resources: { reservations: { nanoCpus: 4e9 } } },
      status: { state: TaskState.PENDING },
    });
    const state = SchedulerState.of(snapshotOf({ nodes: [aNode()], tasks: [task] }));
    assert.equal(planPending(state, T0).groups.length, 1);
    assert.equal(planPending(state, T0).groups.length, 0, 'placed already');
    state.putTask(task);
    assert.equal(planPending(state, T0).groups.length, 1);
    assert.equal(state.nodes.get('n1')?.free.nanoCpus, 0);
  });

  it('counts the tasks of a node that is made known after them', () => {
    const spec = { resources: { reservations: { nanoCpus: 3e9 } } };
    const state = new SchedulerState();
    state.putTask(aTask({ nodeId: 'n1', spec, status: { state: TaskState.RUNNING } }));
    state.putNode(aNode());
    assert.equal(state.nodes.get('n1')?.free.nanoCpus, 1e9);
    state.deleteNode('n1');
    state.putNode(aNode());
    assert.equal(state.nodes.get('n1')?.free.nanoCpus, 1e9);
  });
});

/** A node that was given a task has not more than it has room for, of what is counted. */
function checkRoom(world: World, node: Node, placed: readonly Task[]): void {
  const given = placed.filter((t) => t.nodeId === node.id);
  const here = world.on([node.id]);
  if (given.some((t) => t.spec.resources.reservations.nanoCpus > 0)) {
    const cpus = here.reduce((sum, t) => sum + t.spec.resources.reservations.nanoCpus, 0);
    assert.ok(cpus <= 4e9, `${node.id} has ${cpus / 1e9} CPUs given`);
  }
  const names = here.flatMap((t) => t.assignedGenericResources.flatMap((r) => r.names));
  assert.equal(new Set(names).size, names.length, 'a name was given twice');
  assert.ok(slotsOf(given).size <= given.length);
}
