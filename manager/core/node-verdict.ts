import { NodeState } from '../../proto/gen/hatoba/v1/types.js';

/** Heartbeats in a row that may be missing. */
export const MISSED_HEARTBEATS = 3;

/** How long a host may be there without its agent before its tasks are replaced. */
export const DISCONNECTED_MS = 5 * 60_000;

/** What is known of a node that was ready or disconnected. */
export interface SignsOfLife {
  state: NodeState;
  /** Since when it is in this state. */
  stateForMs: number;
  /** Since its last heartbeat. */
  silentMs: number;
  /** Since its host last refused a connection to the agent's port: the machine runs, the agent
   *  does not. Infinity: never. */
  refusedAgoMs: number;
  heartbeatPeriodMs: number;
}

export interface NodeVerdict {
  state: NodeState;
  message: string;
}

/**
 * Silence alone makes a node down: its tasks are replaced. But a host that answers for a missing
 * agent still runs its containers, as they do not depend on it: it is disconnected, keeps its
 * tasks, and gets no new ones.
 * @returns undefined when nothing changes
 */
export function judgeNode(signs: SignsOfLife): NodeVerdict | undefined {
  const { state, silentMs, refusedAgoMs } = signs;
  const isDisconnected = state === NodeState.DISCONNECTED;
  if (isDisconnected && signs.stateForMs >= DISCONNECTED_MS) {
    return { state: NodeState.DOWN, message: 'its agent did not come back in time' };
  }
  const toleranceMs = MISSED_HEARTBEATS * signs.heartbeatPeriodMs;
  if (silentMs < toleranceMs) return undefined;
  const silent = `no heartbeat for ${(silentMs / 1000).toFixed(1)} s`;
  if (refusedAgoMs < toleranceMs) {
    if (isDisconnected) return undefined;
    const message = `${silent}: the host is there, its agent is not`;
    return { state: NodeState.DISCONNECTED, message };
  }
  return { state: NodeState.DOWN, message: silent };
}
