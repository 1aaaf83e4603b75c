import type * as pb from '../../proto/gen/hatoba/v1/types.js';
import { LEADER_KEY } from '../../manager/store/keys.js';
import type { Transaction } from '../../manager/store/store.js';
import type { Script, Step } from './scenario.js';
import { simulate, type Outcome } from './simulation.js';
import type { SimCluster } from './world/cluster.js';

/** What befalls the leader at one of its commits. */
export const CRASHES = ['dies before it', 'dies after it', 'gets no answer'] as const;
export type Crash = (typeof CRASHES)[number];

const BEGIN_MS = 6000;
const SERVICE: pb.DeepPartial<pb.ServiceSpec> = {
  mode: { $case: 'replicated', value: { replicas: 3 } },
  taskTemplate: {
    containerSpec: { image: 'good:1' },
    networks: [{ target: 'back' }],
    restartPolicy: { delayMs: 200 },
  },
  updateConfig: { parallelism: 1, monitorMs: 300 },
  endpointSpec: { ports: [{ targetPort: 80 }], drainMs: 0 },
};
const CREATE: Step = { atMs: 2500, do: 'create', service: 'web', spec: SERVICE };

/** What is going on when the leader dies, by name. */
export const SITUATIONS: Readonly<Record<string, readonly Step[]>> = {
  'scale-up': [
    CREATE,
    { atMs: BEGIN_MS, do: 'scale', service: 'web', replicas: 6 },
    { atMs: BEGIN_MS + 100, do: 'create', service: 'api', spec: SERVICE },
    { atMs: BEGIN_MS + 400, do: 'scale', service: 'web', replicas: 8 },
    { atMs: BEGIN_MS + 400, do: 'scale', service: 'api', replicas: 5 },
  ],
  update: [
    CREATE,
    {
      atMs: BEGIN_MS,
      do: 'update',
      service: 'web',
      spec: { taskTemplate: { ...SERVICE.taskTemplate, containerSpec: { image: 'good:2' } } },
    },
  ],
  drain: [
    CREATE,
    { atMs: BEGIN_MS, do: 'drain', node: 'w1' },
    { atMs: BEGIN_MS + 300, do: 'drain', node: 'm1' },
  ],
};

function scriptOf(steps: readonly Step[]): Script {
  return { seed: 1, managers: 2, workers: 1, subnetSize: 24, steps, quietAtMs: BEGIN_MS + 6000 };
}

function isOfLoop({ guards }: Transaction): boolean {
  return guards.some((g) => g.key === LEADER_KEY && 'createRevision' in g);
}

/** How many commits the leader makes for it when nothing goes wrong. */
export async function commitsOf(steps: readonly Step[]): Promise<number> {
  let count = 0;
  await simulate(scriptOf(steps), {
    onBegin: (cluster) => {
      cluster.fateOf = (transaction) => {
        if (isOfLoop(transaction) && cluster.elapsedMs >= BEGIN_MS) count++;
        return 'made';
      };
    },
  });
  return count;
}

/** The leader meets its crash at the `nth` commit after the beginning, counted from 1. */
export function crashAt(
  steps: readonly Step[],
  { nth, crash }: { nth: number; crash: Crash },
  keepTrace = false,
): Promise<Outcome> {
  return simulate(scriptOf(steps), {
    keepTrace,
    onBegin: (cluster) => strike(cluster, nth, crash),
  });
}

function strike(cluster: SimCluster, nth: number, crash: Crash): void {
  let count = 0;
  cluster.fateOf = (transaction, host) => {
    if (!isOfLoop(transaction) || cluster.elapsedMs < BEGIN_MS || ++count !== nth) return 'made';
    cluster.trace.add(`at commit ${nth} the leader ${crash}`);
    if (crash === 'gets no answer') return 'made, answer lost';
    // before any answer can come, which takes its time
    cluster.timeline.after(0, () => cluster.stopManager(host));
    return crash === 'dies before it' ? 'lost' : 'made';
  };
}
