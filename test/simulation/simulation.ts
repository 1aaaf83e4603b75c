import { unsettled } from './convergence.js';
import { Capacity } from './invariants/capacity.js';
import { Containers } from './invariants/containers.js';
import { GivenOnce } from './invariants/given-once.js';
import { Violation, type Facts, type Invariant } from './invariants/invariant.js';
import { Ownership } from './invariants/ownership.js';
import { Slots } from './invariants/slots.js';
import { UpdateParallelism } from './invariants/update.js';
import type { Action, Fault, Script, Step } from './scenario.js';
import { SimCluster, type Mutation } from './world/cluster.js';
import { cause } from './world/faults.js';
import { Repairs } from './world/repair.js';
import { ask } from './world/users.js';

export interface Outcome {
  /** Undefined: all was well. */
  readonly failure: Error | undefined;
  /** Two runs with the same hash did the same. */
  readonly hash: string;
  /** Kept where it was asked for. */
  readonly lines: readonly string[];
  /** Simulated time until all had settled. */
  readonly elapsedMs: number;
  readonly commits: number;
  readonly faults: number;
}

export interface SimulationOptions {
  readonly keepTrace?: boolean;
  readonly mutation?: Mutation;
  /** What it may take for everything to settle once nothing goes wrong any more. */
  readonly patience?: { readonly ms: number; readonly commits: number };
  /** Told before the first step, for what a script cannot say. */
  readonly onBegin?: (cluster: SimCluster) => void;
}

/** More than all services that fail over and over write until the rest has settled. */
const PATIENCE = { ms: 180_000, commits: 4000 } as const;
const LOOK_EVERY_MS = 500;

/** Runs a script to its end, or to what must never be. The same script gives the same outcome. */
export async function simulate(script: Script, options: SimulationOptions = {}): Promise<Outcome> {
  const { stackTraceLimit } = Error;
  // most of the time would go into stacks of errors that are part of the play
  if (options.keepTrace !== true) Error.stackTraceLimit = 0;
  try {
    return await run(script, options);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

async function run(script: Script, options: SimulationOptions): Promise<Outcome> {
  const { keepTrace = false, mutation = {}, onBegin } = options;
  const invariants: Invariant[] = [
    new Ownership(),
    new Slots(),
    new GivenOnce(),
    new Capacity(),
    new UpdateParallelism(),
  ];
  const late: { containers?: Containers } = {};
  let commits = 0;
  const cluster = new SimCluster(script, {
    ...{ keepTrace, mutation },
    hooks: {
      onCommit: (commit, { truth: { view, leader } }) => {
        commits++;
        const facts: Facts = { view, leader, wasReported: (...of) => cluster.wasReported(...of) };
        for (const invariant of invariants) invariant.check(commit, facts);
      },
      onStarted: (task, host) => late.containers?.onStarted(task, host),
    },
  });
  late.containers = new Containers(cluster.hosts);
  invariants.push(late.containers);
  const repairs = new Repairs(cluster);
  await cluster.begin(script.subnetSize);
  onBegin?.(cluster);
  for (const step of script.steps)
    cluster.timeline.after(step.atMs, () => take(step, cluster, repairs));
  await cluster.runUntil(script.quietAtMs);
  repairs.all();
  await settle(cluster, options.patience ?? PATIENCE);
  return {
    failure: cluster.failure,
    hash: cluster.trace.hash,
    lines: cluster.trace.lines ?? [],
    elapsedMs: cluster.elapsedMs,
    commits,
    faults: script.steps.filter((step) => !isAction(step)).length,
  };
}

function take(step: Step, cluster: SimCluster, repairs: Repairs): void {
  if (isAction(step)) {
    void ask(step, cluster);
    return;
  }
  const { atMs: _, ...fault } = step;
  cluster.trace.add(`fault: ${JSON.stringify(fault)}`);
  cause(step, cluster, repairs);
}

const ACTIONS: ReadonlySet<string> = new Set<Action['do']>([
  ...(['create', 'update', 'scale', 'rollback', 'remove', 'pause', 'resume', 'restart'] as const),
  ...(['drain', 'activate', 'pause-node', 'label', 'taint', 'deploy', 'remove-stack'] as const),
]);

function isAction(step: Action | Fault): step is Action {
  return ACTIONS.has(step.do);
}

/** Runs until all has settled twice in a row. */
async function settle(
  cluster: SimCluster,
  patience: NonNullable<SimulationOptions['patience']>,
): Promise<void> {
  const beganMs = cluster.elapsedMs;
  const beganRevision = cluster.truth.view.revision;
  let reasons: readonly string[] = [];
  let calm = 0;
  while (cluster.failure === undefined && calm < 2) {
    await cluster.runUntil(cluster.elapsedMs + LOOK_EVERY_MS);
    reasons = unsettled(cluster);
    calm = reasons.length === 0 ? calm + 1 : 0;
    const tookMs = cluster.elapsedMs - beganMs;
    const commits = cluster.truth.view.revision - beganRevision;
    if (tookMs < patience.ms && commits < patience.commits) continue;
    const after = `after ${tookMs} ms and ${commits} commits`;
    cluster.fail(new Violation('unsettled', `${after}: ${reasons.slice(0, 5).join('; ')}`));
  }
}
