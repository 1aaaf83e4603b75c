import { formatDurationMs } from '../../../common/duration.js';
import type { Task } from '../../../common/model/objects.js';
import { endedByItself, isTerminal } from '../../../common/model/task-state.js';
import {
  RestartCondition,
  TaskState,
  type RestartHistory,
} from '../../../proto/gen/hatoba/v1/types.js';
import { endingOf } from './endings.js';

/** Pause before a replacement starts, where the restart policy names none. */
export const DEFAULT_RESTART_DELAY_MS = 5000;
/** The longest pause between failures in a row, where the restart policy names none. */
export const DEFAULT_MAX_DELAY_MS = 5 * 60_000;
const SHORTEST_GROWING_MS = 100;
/** Who lived so long, and so many times as long as it waited before, has not failed in a row. */
const LIVED_LONG_MS = 10 * 60_000;
const LIVED_LONG_DELAYS = 10;

/** What the restart policy of a task says about replacing it. */
export type RestartVerdict =
  | {
      readonly again: true;
      /** Before the replacement may run. */
      readonly delayMs: number;
      /** What the replacement is to remember. */
      readonly restarts: RestartHistory;
    }
  | { readonly again: false; /** In words for people. */ readonly reason: string };

/**
 * Everything a policy counts is in the task itself (`restarts`), handed on from each to its
 * replacement, so neither the reaper nor a new leader forgets any of it.
 * @param task that ended, or is to run elsewhere
 */
export function judgeRestart(task: Task, nowMs: number): RestartVerdict {
  const { condition, maxAttempts } = task.spec.restartPolicy;
  if (condition === RestartCondition.NONE) {
    return { again: false, reason: `${endingOf(task)}; its restart policy is none` };
  }
  if (condition === RestartCondition.ON_FAILURE && task.status.state === TaskState.COMPLETE) {
    return { again: false, reason: `${endingOf(task)}; its restart policy is on-failure` };
  }
  const history = historyOf(task, nowMs);
  const delayMs = restartDelayMs(task, history.inRow);
  if (!endedByItself(task)) return { again: true, delayMs, restarts: history };
  const attempts = attemptsInReach(task, history, nowMs);
  if (maxAttempts > 0 && attempts.length >= maxAttempts) {
    return { again: false, reason: gaveUp(task, attempts.length) };
  }
  const atMs = maxAttempts === 0 ? [] : [...attempts, nowMs];
  return { again: true, delayMs, restarts: { atMs, inRow: history.inRow + 1 } };
}

function gaveUp(task: Task, attempts: number): string {
  const { windowMs } = task.spec.restartPolicy;
  const within = windowMs === 0 ? '' : ` in ${formatDurationMs(windowMs)}`;
  const noun = attempts === 1 ? 'attempt' : 'attempts';
  return `gave up after ${attempts} ${noun}${within}: ${endingOf(task)}`;
}

/** What a task is to remember that replaces one which had not ended by itself; undefined: nothing. */
export function handedOn(task: Task, nowMs: number): RestartHistory | undefined {
  const history = historyOf(task, nowMs);
  return history.atMs.length === 0 && history.inRow === 0 ? undefined : history;
}

function historyOf(task: Task, nowMs: number): RestartHistory {
  const { atMs = [], inRow = 0 } = task.restarts ?? {};
  return { atMs, inRow: hasLivedLong(task, inRow, nowMs) ? 0 : inRow };
}

function hasLivedLong(task: Task, inRow: number, nowMs: number): boolean {
  const { windowMs } = task.spec.restartPolicy;
  const { runningAtMs, timestampMs, state } = task.status;
  if (runningAtMs === 0) return false;
  const livedMs = (isTerminal(state) ? timestampMs : nowMs) - runningAtMs;
  const waitedMs = restartDelayMs(task, inRow);
  return (
    livedMs > (windowMs > 0 ? windowMs : Math.max(LIVED_LONG_MS, LIVED_LONG_DELAYS * waitedMs))
  );
}

/**
 * Doubles with each failure in a row, up to the policy's limit; where the first pause is none, the
 * next ones are short, but what fails at once every time does not fill the cluster with its tasks.
 */
export function restartDelayMs(task: Task, inRow: number): number {
  const policy = task.spec.restartPolicy;
  const delayMs = policy.delayMs ?? DEFAULT_RESTART_DELAY_MS;
  const longestMs = Math.max(delayMs, policy.maxDelayMs ?? DEFAULT_MAX_DELAY_MS);
  const growingMs = inRow === 0 ? delayMs : Math.max(delayMs, SHORTEST_GROWING_MS);
  return Math.min(growingMs * 2 ** inRow, longestMs);
}

/** The window reaches back over the delays as well, or delays longer than it would void the limit. */
function attemptsInReach(task: Task, history: RestartHistory, nowMs: number): number[] {
  const { windowMs, maxAttempts } = task.spec.restartPolicy;
  if (windowMs === 0) return history.atMs;
  const reachMs = windowMs + maxAttempts * restartDelayMs(task, history.inRow);
  return history.atMs.filter((atMs) => atMs > nowMs - reachMs);
}
