import type { Node } from '../../common/model/objects.js';
import { NodeState } from '../../proto/gen/hatoba/v1/types.js';

/** A loss longer ago than this says nothing about a node any more. */
export const LOSS_MEMORY_MS = 30 * 60_000;
/** More of them would change nothing. */
const MAX_LOSSES = 10;
/** Anybody may be lost once, for a reboot say; from this one on it is a habit. */
const HABIT = 2;
/** Heartbeats in a row that may be missing. */
export const MISSED_HEARTBEATS = 3;
const MAX_TOLERANCE_MS = 30_000;
const FIRST_SETTLING_MS = 30_000;
const MAX_SETTLING_MS = 5 * 60_000;

/**
 * How long a node may be silent before its tasks are replaced: three heartbeats, so that who is
 * really lost is replaced soon. Each loss of the last half hour from the second one on doubles that,
 * up to half a minute: at a node that comes and goes, waiting costs less than moving all it runs.
 */
export function toleranceMs(losses: number, heartbeatPeriodMs: number): number {
  const leastMs = MISSED_HEARTBEATS * heartbeatPeriodMs;
  return Math.max(leastMs, Math.min(MAX_TOLERANCE_MS, leastMs * 2 ** habits(losses)));
}

/**
 * Whether a node that came back of several losses still has to show that it stays: until then it is
 * the last choice for new tasks. Half a minute after the second loss, twice that after each further one.
 */
export function isSettling({ status }: Node, nowMs: number): boolean {
  if (status.state !== NodeState.READY) return false;
  const since = nowMs - status.stateChangedAtMs;
  return since < settlingMs(recentLosses(status.lostAtMs, nowMs).length);
}

function settlingMs(losses: number): number {
  const habit = habits(losses);
  return habit === 0 ? 0 : Math.min(MAX_SETTLING_MS, FIRST_SETTLING_MS * 2 ** (habit - 1));
}

/** Those that still count, oldest first. */
export function recentLosses(lostAtMs: readonly number[], nowMs: number): number[] {
  return lostAtMs.filter((atMs) => nowMs - atMs < LOSS_MEMORY_MS).slice(-MAX_LOSSES);
}

/** Losses beyond those that may happen to anybody. */
function habits(losses: number): number {
  return Math.max(0, losses - HABIT + 1);
}
