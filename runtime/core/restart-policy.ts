import { HatobaError } from '../../common/errors.js';

/** Docker's words. */
export interface RestartRule {
  name: 'no' | 'always' | 'unless-stopped' | 'on-failure';
  /** Of on-failure; 0 = no limit. */
  maximumRetryCount: number;
}

/** How a run of a container (or the attempt at one) came to its end. */
export interface RunEnd {
  exitCode: number;
  /** How long it ran; 0 for one that could not be started. */
  ranMs: number;
  /** Somebody wanted it to end. */
  isStoppedByHand: boolean;
  /** Starts by the rule since the last start by hand. */
  restartCount: number;
  /** What was waited before this run; 0 when it was started by hand. */
  backoffMs: number;
}

export type RestartDecision = { restart: false } | { restart: true; backoffMs: number };

export const FIRST_BACKOFF_MS = 100;
export const MAX_BACKOFF_MS = 60_000;
/** A run of this length was a good one: the next wait is the shortest again. */
const GOOD_RUN_MS = 10_000;

/** Whether a container that has ended is to be started again, and how long after its end. */
export function decideRestart(rule: RestartRule | undefined, end: RunEnd): RestartDecision {
  if (end.isStoppedByHand || !isWanted(rule, end)) return { restart: false };
  return { restart: true, backoffMs: nextBackoffMs(end) };
}

/**
 * Whether an ended container is to be started when the engine starts anew, after a crash or a
 * reboot: `always` means also one that was stopped by hand, as in Docker.
 */
export function decideAtOpen(rule: RestartRule | undefined, end: RunEnd): RestartDecision {
  if (rule?.name === 'always') return { restart: true, backoffMs: FIRST_BACKOFF_MS };
  return decideRestart(rule, end);
}

/** @throws {HatobaError} invalid-argument for a rule that says two things at once */
export function checkRestartRule(rule: RestartRule | undefined, autoRemove: boolean): void {
  if (rule === undefined || rule.name === 'no') return;
  if (autoRemove) {
    throw new HatobaError(
      'invalid-argument',
      `a container that is removed at its end cannot be restarted: choose --rm or --restart ${rule.name}`,
    );
  }
  const { name, maximumRetryCount } = rule;
  if (name !== 'on-failure' && maximumRetryCount > 0) {
    throw new HatobaError(
      'invalid-argument',
      `restart "${name}" takes no maximum number of retries; only "on-failure:${maximumRetryCount}" does`,
    );
  }
}

function isWanted(rule: RestartRule | undefined, end: RunEnd): boolean {
  switch (rule?.name) {
    case 'always':
    case 'unless-stopped':
      return true;
    case 'on-failure': {
      const max = rule.maximumRetryCount;
      return end.exitCode !== 0 && (max === 0 || end.restartCount < max);
    }
    case 'no':
    case undefined:
      return false;
  }
}

function nextBackoffMs({ ranMs, backoffMs }: RunEnd): number {
  if (backoffMs === 0 || ranMs >= GOOD_RUN_MS) return FIRST_BACKOFF_MS;
  return Math.min(MAX_BACKOFF_MS, backoffMs * 2);
}
