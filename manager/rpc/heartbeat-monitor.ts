import { HatobaError, isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Node } from '../../common/model/objects.js';
import { NodeState } from '../../proto/gen/hatoba/v1/types.js';
import { applyPlan } from '../store/write.js';
import type { View } from '../view/view.js';
import type { Sessions } from './sessions.js';
import type { ClusterAccess } from './write-plan.js';

export const DEFAULT_HEARTBEAT_MS = 1000;
/** Heartbeats in a row that may be missing before a node counts as down. */
const MISSED_HEARTBEATS = 3;
const CHECK_EVERY_MS = 250;
/** Beside the missed heartbeats, what an agent may take to find this manager after its start. */
const START_GRACE_MS = 2000;
/** A check later than this means that this process was held up, not that nodes were silent. */
const LATE_MS = 500;

/** The period agents are told, from the cluster's spec. */
export function heartbeatPeriodMs(view: View): number {
  const periodMs = view.cluster()?.spec.heartbeatPeriodMs ?? 0;
  return periodMs > 0 ? periodMs : DEFAULT_HEARTBEAT_MS;
}

/**
 * Declares nodes down that this manager answers for (`status.managerId`) and has not heard of for
 * three heartbeat periods. Only the change is written. A broken stream alone means nothing.
 */
export class HeartbeatMonitor implements AsyncDisposable {
  readonly #cluster: ClusterAccess;
  readonly #sessions: Sessions;
  readonly #nodeId: string;
  readonly #logger: Logger;
  readonly #startMs: number;
  readonly #writing = new Map<string, Promise<void>>();
  #cancelTimer: () => void = () => undefined;
  #dueMs = 0;
  #closed = false;

  constructor(
    cluster: ClusterAccess,
    modules: { sessions: Sessions; nodeId: string; logger: Logger },
  ) {
    this.#cluster = cluster;
    this.#sessions = modules.sessions;
    this.#nodeId = modules.nodeId;
    this.#logger = modules.logger;
    this.#startMs = cluster.clock.nowMs();
    this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    await Promise.all(this.#writing.values());
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#dueMs = this.#cluster.clock.nowMs() + CHECK_EVERY_MS;
    this.#cancelTimer = this.#cluster.clock.setTimer(CHECK_EVERY_MS, () => {
      this.#check();
      this.#schedule();
    });
  }

  #check(): void {
    const { view, clock } = this.#cluster;
    const nowMs = clock.nowMs();
    if (nowMs - this.#dueMs > LATE_MS) this.#sessions.forgive(nowMs - this.#dueMs);
    this.#sessions.endWhere(
      (nodeId) => view.node(nodeId) === undefined,
      reopen('the node was removed from the cluster'),
    );
    const toleranceMs = MISSED_HEARTBEATS * heartbeatPeriodMs(view);
    for (const node of view.nodes()) {
      if (this.#writing.has(node.id)) continue;
      if (node.status.state !== NodeState.READY) {
        // Opening a session writes READY: a session beside DOWN was overtaken by a late verdict.
        this.#sessions.end(node.id, reopen('the node was declared down'));
      } else if (!this.#answersFor(node)) {
        this.#sessions.end(node.id, reopen('the node went to another manager'));
      } else {
        const silentMs = nowMs - this.#lastHeardMs(node);
        if (silentMs >= toleranceMs) this.#declareDown(node, silentMs);
      }
    }
  }

  /** A node without a session here counts from its last write, or from when it could find us. */
  #lastHeardMs(node: Node): number {
    const session = this.#sessions.of(node.id);
    return session?.lastSeenMs ?? Math.max(this.#startMs + START_GRACE_MS, node.updatedAtMs);
  }

  /** Also for nodes whose manager is gone from the cluster, or that never had one. */
  #answersFor(node: Node): boolean {
    const managerId = node.status.managerId;
    return (
      managerId === undefined ||
      managerId === this.#nodeId ||
      this.#cluster.view.node(managerId) === undefined
    );
  }

  #declareDown(node: Node, silentMs: number): void {
    const writing = this.#writeDown(node, silentMs).finally(() => this.#writing.delete(node.id));
    this.#writing.set(node.id, writing);
  }

  async #writeDown(node: Node, silentMs: number): Promise<void> {
    const { store, view, clock } = this.#cluster;
    const message = `no heartbeat for ${(silentMs / 1000).toFixed(1)} s`;
    const status = {
      ...node.status,
      state: NodeState.DOWN,
      message,
      stateChangedAtMs: clock.nowMs(),
    };
    this.#sessions.end(node.id, reopen(message));
    try {
      const object = { ...node, status };
      const plan = { groups: [[{ action: 'update', kind: 'node', object } as const]] };
      const { revision, conflicts } = await applyPlan(store, plan, { clock });
      if (conflicts > 0) return; // the node changed: the next check looks at it anew
      await view.waitFor(revision);
      this.#logger.warn('Node went down', {
        nodeId: node.id,
        hostname: node.description.hostname,
        message,
      });
    } catch (error) {
      // The next check tries again, as the store still says that the node is ready.
      const level = isKind(error, 'unavailable', 'cancelled') ? 'warn' : 'error';
      this.#logger[level]('Could not record that a node is down', { nodeId: node.id }, error);
    }
  }
}

function reopen(reason: string): HatobaError {
  return new HatobaError('failed-precondition', `${reason}; open a new session`);
}
