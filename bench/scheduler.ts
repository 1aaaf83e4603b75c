/**
 * Placements per second of the scheduler core, beside SwarmKit's figure (about 6,200/s, its own
 * benchmark on this kind of machine; no peer runs here). Budget: 60,000/s at 1,000 nodes and
 * 100,000 tasks. Run: npx tsx bench/scheduler.ts
 */
import { performance } from 'node:perf_hooks';
import { pendingTasks, planSchedule } from '../manager/core/scheduler/schedule.js';
import { TaskState, type TaskSpec } from '../proto/gen/hatoba/v1/types.js';
import { aNode, aService, aTask, snapshotOf, T0, type Some } from '../test/support/builders.js';

interface Scenario {
  name: string;
  services: number;
  spec: Some<TaskSpec>;
}

const NODES = 1000;
const TASKS = 100_000;
const ROUNDS = 3;
const SWARMKIT_PER_S = 6200;

const SCENARIOS: readonly Scenario[] = [
  { name: '100 services x 1,000 tasks', services: 100, spec: {} },
  {
    name: '100 services, reservations and a constraint',
    services: 100,
    spec: {
      resources: { reservations: { nanoCpus: 1e7, memoryBytes: 16 * 1024 ** 2 } },
      placement: { constraints: ['node.labels.disk==ssd'] },
    },
  },
  {
    name: '100 services, spread over zones',
    services: 100,
    spec: { placement: { preferences: [{ spreadDescriptor: 'node.labels.zone' }] } },
  },
  { name: '100,000 services x 1 task (no groups)', services: TASKS, spec: {} },
];

function clusterFor({ services, spec }: Scenario): ReturnType<typeof snapshotOf> {
  const nodes = Array.from({ length: NODES }, (_, i) =>
    aNode({
      id: `n${i + 1}`,
      spec: { labels: { zone: `z${i % 10}`, disk: i % 2 === 0 ? 'ssd' : 'hdd' } },
      description: { resources: { nanoCpus: 64e9, memoryBytes: 256 * 1024 ** 3 } },
    }),
  );
  const perService = TASKS / services;
  const tasks = Array.from({ length: TASKS }, (_, i) =>
    aTask({
      serviceId: `id-s${Math.floor(i / perService)}`,
      slot: (i % perService) + 1,
      spec,
      status: { state: TaskState.PENDING },
    }),
  );
  return snapshotOf({ nodes, tasks, services: [aService()] });
}

for (const scenario of SCENARIOS) {
  const snapshot = clusterFor(scenario);
  const seconds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    const plan = planSchedule(snapshot, pendingTasks(snapshot), T0);
    seconds.push((performance.now() - start) / 1000);
    if (plan.groups.length !== TASKS) throw new Error(`placed ${plan.groups.length} of ${TASKS}`);
  }
  const median = seconds.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
  const rate = Math.round(TASKS / median);
  process.stdout.write(
    `scheduler: ${NODES} nodes, ${scenario.name}: ${rate} placements/s ` +
      `(${(rate / SWARMKIT_PER_S).toFixed(1)}x SwarmKit's)\n`,
  );
}
