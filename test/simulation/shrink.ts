import { Violation } from './invariants/invariant.js';
import type { Script, Step } from './scenario.js';
import { simulate, type Outcome, type SimulationOptions } from './simulation.js';

/** Runs that a shrinking may take. */
const MAX_RUNS = 150;

/** What went wrong, in one word: two failures of one kind are taken for the same. */
export function ruleOf(failure: Error): string {
  return failure instanceof Violation ? failure.rule : failure.name;
}

/**
 * The smallest script found that fails by the same rule: steps are left out, large parts first, and
 * then machines, as long as it still fails.
 */
export async function shrink(
  script: Script,
  failure: Error,
  options: SimulationOptions = {},
): Promise<{ script: Script; outcome: Outcome }> {
  let runs = 0;
  const fails = async (candidate: Script): Promise<boolean> => {
    if (runs++ >= MAX_RUNS) return false;
    const outcome = await simulate(candidate, options);
    return outcome.failure !== undefined && ruleOf(outcome.failure) === ruleOf(failure);
  };
  let smallest = await withFewerSteps(script, fails);
  for (const part of ['workers', 'managers'] as const) {
    const candidate = { ...smallest, [part]: smallest[part] - 1 };
    const isPossible = candidate.managers > 0 && candidate.workers >= 0;
    if (isPossible && (await fails(candidate))) smallest = candidate;
  }
  return { script: smallest, outcome: await simulate(smallest, { ...options, keepTrace: true }) };
}

async function withFewerSteps(
  script: Script,
  fails: (candidate: Script) => Promise<boolean>,
): Promise<Script> {
  let steps = script.steps;
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : size >> 1) {
    for (let at = 0; at < steps.length;) {
      const rest: readonly Step[] = [...steps.slice(0, at), ...steps.slice(at + size)];
      if (await fails({ ...script, steps: rest })) steps = rest;
      else at += size;
    }
  }
  return { ...script, steps };
}

/** A failure for people: what to do to see it, and what happened. */
export function describeFailure(script: Script, { failure, lines }: Outcome, seed: number): string {
  const steps = script.steps.map((step) => `  ${JSON.stringify(step)}`);
  return [
    `seed ${seed}: ${failure?.message ?? 'no failure'}`,
    `npm run sim -- --seed ${seed} --trace`,
    `smallest script: ${script.managers} managers, ${script.workers} workers, steps`,
    ...steps,
    'its last lines:',
    ...lines.slice(-40),
  ].join('\n');
}
