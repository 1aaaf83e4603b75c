import { NodeState } from '../../proto/gen/hatoba/v1/types.js';
import { toleranceMs } from './node-trust.js';

/**
 * Heartbeat periods of silence after which a node gets no new tasks: two are missing, and not just
 * late, as they are on a busy machine.
 */
const SILENT_PERIODS = 2.5;

/** How long a host may be there without its agent before its tasks are replaced. */
export const DISCONNECTED_MS = 5 * 60_000;

/** What is known of a node that was ready or disconnected. */
export interface SignsOfLife {
  state: NodeState;
  /** Since when it is in this state. */
  stateForMs: number;
  /** Since its last heartbeat. */
  silentMs: number;
  /** Whether it has a session: what it says is heard. */
  isConnected: boolean;
  /** Since its host last refused a connection to the agent's port: the machine runs, the agent
   *  does not. Infinity: never. */
  refusedAgoMs: number;
  heartbeatPeriodMs: number;
  /** How often it was lost of late, see node-trust.ts. */
  losses: number;
  /** No traffic is led there any more. */
  isUnreachable: boolean;
}

export interface NodeVerdict {
  state: NodeState;
  message: string;
  isUnreachable: boolean;
}

/**
 * A node that is silent is disconnected first: it keeps its tasks and gets no new ones, and a single
 * heartbeat makes it ready again. Only lasting silence makes it down, and its tasks are replaced; of
 * one that is waited for longer, clients are led to others meanwhile. But a host that answers for a missing agent still runs its containers, as they do not depend on it: it
 * stays disconnected.
 * @returns undefined when nothing changes
 */
export function judgeNode(signs: SignsOfLife): NodeVerdict | undefined {
  return signs.state === NodeState.DISCONNECTED ? judgeDisconnected(signs) : judgeReady(signs);
}

function judgeReady(signs: SignsOfLife): NodeVerdict | undefined {
  if (isHeard(signs)) return undefined;
  return { state: NodeState.DISCONNECTED, message: silenceOf(signs), isUnreachable: false };
}

function judgeDisconnected(signs: SignsOfLife): NodeVerdict | undefined {
  if (signs.isConnected && isHeard(signs)) {
    return { state: NodeState.READY, message: '', isUnreachable: false };
  }
  if (signs.stateForMs >= DISCONNECTED_MS) {
    const message = 'its agent did not come back in time';
    return { state: NodeState.DOWN, message, isUnreachable: true };
  }
  const { silentMs, losses, heartbeatPeriodMs } = signs;
  if (isHostThere(signs) || silentMs < toleranceMs(0, heartbeatPeriodMs)) return undefined;
  const isLost = silentMs >= toleranceMs(losses, heartbeatPeriodMs);
  if (!isLost && signs.isUnreachable) return undefined;
  const state = isLost ? NodeState.DOWN : NodeState.DISCONNECTED;
  return { state, message: silenceOf(signs), isUnreachable: true };
}

function isHeard({ silentMs, heartbeatPeriodMs }: SignsOfLife): boolean {
  return silentMs < SILENT_PERIODS * heartbeatPeriodMs;
}

/** It is asked once in each period while it is silent. */
function isHostThere({ refusedAgoMs, heartbeatPeriodMs }: SignsOfLife): boolean {
  return refusedAgoMs < toleranceMs(0, heartbeatPeriodMs);
}

function silenceOf(signs: SignsOfLife): string {
  const silent = `no heartbeat for ${(signs.silentMs / 1000).toFixed(1)} s`;
  return isHostThere(signs) ? `${silent}: the host is there, its agent is not` : silent;
}
