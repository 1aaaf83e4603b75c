/**
 * Placements per second of the scheduler core, beside SwarmKit's figure (about 6,200/s, its own
 * benchmark on this kind of machine; no peer runs here), and what a pass costs in a cluster that is
 * full of tasks already. Budget: 60,000/s for plain tasks, 5,000/s for every other kind, with 1,000
 * and 5,000 nodes and 100,000 tasks. Seconds are those of the processor, the collector's threads
 * included, so that what else runs on the machine counts for little.
 *
 * Run: npx tsx bench/scheduler.ts [tasks] [nodes …]
 */
import type { Node, Task } from '../common/model/objects.js';
import { planPending } from '../manager/core/scheduler/schedule.js';
import { SchedulerState } from '../manager/core/scheduler/state.js';
import type { Plan } from '../manager/core/snapshot.js';
import { TaskState, type Placement, type TaskSpec } from '../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, T0, type Some } from '../test/support/builders.js';
import { median, printRows, type BenchRow } from './support/figures.js';

interface Scenario {
  name: string;
  services: number;
  /** @param service its name */
  spec: (service: string) => Some<TaskSpec>;
  perSecond: number;
}

const TASKS = Number(process.argv[2] ?? 100_000);
const ROUNDS = 3;
const SWARMKIT_PER_S = 6200;

const placed = (placement: Some<Placement>): Some<TaskSpec> => ({ placement });
const zone = 'node.labels.zone';
const SCENARIOS: readonly Scenario[] = [
  { name: 'plain', services: 100, spec: () => ({}), perSecond: 60_000 },
  {
    name: 'plain, each task a service of its own',
    services: TASKS,
    spec: () => ({}),
    perSecond: 5000,
  },
  {
    name: 'reservations and constraints',
    services: 100,
    spec: () => ({
      resources: { reservations: { nanoCpus: 1e7, memoryBytes: 16 * 1024 ** 2 } },
      placement: { constraints: ['node.labels.disk==ssd', 'node.labels.zone not in (z3, z7)'] },
    }),
    perSecond: 5000,
  },
  {
    name: 'spread over zones (preference)',
    services: 100,
    spec: () => placed({ preferences: [{ spreadDescriptor: zone }] }),
    perSecond: 5000,
  },
  {
    name: 'spread over zones (condition)',
    services: 100,
    spec: () => placed({ spreads: [{ key: zone, maxSkew: 1, required: true }] }),
    perSecond: 5000,
  },
  {
    name: 'spread over hostnames (preference)',
    services: 100,
    spec: () => placed({ preferences: [{ spreadDescriptor: 'node.hostname' }] }),
    perSecond: 5000,
  },
  {
    name: 'spread over hostnames (condition)',
    services: 100,
    spec: () => placed({ spreads: [{ key: 'node.hostname', maxSkew: 1, required: true }] }),
    perSecond: 5000,
  },
  {
    name: 'spread over zones, then hostnames; no more than 2 apart as a wish',
    services: 100,
    spec: () =>
      placed({
        preferences: [{ spreadDescriptor: zone }, { spreadDescriptor: 'node.hostname' }],
        spreads: [{ key: 'node.hostname', maxSkew: 2 }],
      }),
    perSecond: 5000,
  },
  {
    name: 'anti-affinity: one per node',
    services: 200,
    spec: (service) => placed({ affinities: [{ expression: `service!=${service}` }] }),
    perSecond: 5000,
  },
  {
    name: 'anti-affinity to another service by zone, wish to be near a third',
    services: 100,
    spec: () =>
      placed({
        affinities: [
          { expression: 'service!=other', topology: zone },
          { expression: 'service==s1', topology: zone, weight: 10 },
        ],
      }),
    perSecond: 5000,
  },
];

function stateOf(nodeCount: number, tasks: readonly Task[]): SchedulerState {
  const state = new SchedulerState();
  for (const node of nodesOf(nodeCount)) state.putNode(node);
  for (const task of tasks) state.putTask(task);
  return state;
}

function nodesOf(count: number): Node[] {
  return Array.from({ length: count }, (_, i) =>
    aNode({
      id: `n${i + 1}`,
      spec: { labels: { zone: `z${i % 10}`, disk: i % 2 === 0 ? 'ssd' : 'hdd' } },
      description: { resources: { nanoCpus: 64e9, memoryBytes: 256 * 1024 ** 3 } },
    }),
  );
}

function tasksOf({ services, spec }: Scenario): Task[] {
  const perService = Math.ceil(TASKS / services);
  return Array.from({ length: TASKS }, (_, i) => {
    const service = `s${Math.floor(i / perService)}`;
    return aTask({
      serviceId: `id-${service}`,
      slot: (i % perService) + 1,
      spec: spec(service),
      status: { state: TaskState.PENDING },
    });
  });
}

/** Seconds of the processor that something takes. */
function secondsOf(run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function measure(scenario: Scenario, nodeCount: number, tasks: readonly Task[]): BenchRow {
  const seconds = Array.from({ length: ROUNDS }, () => {
    const state = stateOf(nodeCount, tasks);
    let plan: Plan = { groups: [] };
    const taken = secondsOf(() => (plan = planPending(state, T0)));
    const count = plan.groups.flat().filter((c) => (c.object as Task).nodeId !== '').length;
    if (count !== TASKS) throw new Error(`${scenario.name}: placed ${count} of ${TASKS}`);
    return taken;
  });
  const perSecond = TASKS / median(seconds);
  return {
    what: `${nodeCount} nodes, ${TASKS} tasks, ${scenario.name}`,
    ours: `${Math.round(perSecond)} placements/s`,
    peer: `SwarmKit ${SWARMKIT_PER_S}`,
    ratio: `${(perSecond / SWARMKIT_PER_S).toFixed(1)}x`,
    budget: `>= ${scenario.perSecond}`,
  };
}

/** One task more, where the state is kept, and where it has to be built. */
function measureOneMore(nodeCount: number): BenchRow[] {
  const plain = SCENARIOS[0];
  if (plain === undefined) return [];
  const tasks = tasksOf(plain).map((task, i) => ({
    ...task,
    nodeId: `n${(i % nodeCount) + 1}`,
    status: { ...task.status, state: TaskState.RUNNING },
  }));
  let state = new SchedulerState();
  const built = Array.from({ length: ROUNDS }, () =>
    secondsOf(() => (state = stateOf(nodeCount, tasks))),
  );
  const passes = Array.from({ length: 100 }, (_, i) => {
    const task = aTask({ serviceId: `id-new${i}`, status: { state: TaskState.PENDING } });
    return secondsOf(() => {
      state.putTask(task);
      planPending(state, T0);
    });
  });
  const row = (what: string, seconds: number, budget: string): BenchRow => ({
    what: `${nodeCount} nodes, ${TASKS} tasks that run: ${what}`,
    ours: `${(seconds * 1000).toFixed(2)} ms`,
    peer: '',
    ratio: '',
    budget,
  });
  return [
    row('state built anew', median(built), ''),
    row('a pass for one task more', median(passes), '< 1 ms'),
  ];
}

const given = process.argv.slice(3).map(Number);
const NODES = given.length > 0 ? given : [1000, 5000];
const rows: BenchRow[] = [];
for (const scenario of SCENARIOS) {
  const tasks = tasksOf(scenario);
  for (const nodeCount of NODES) rows.push(measure(scenario, nodeCount, tasks));
}
for (const nodeCount of NODES) rows.push(...measureOneMore(nodeCount));
printRows(rows);
