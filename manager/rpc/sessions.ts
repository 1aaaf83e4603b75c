import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import { newId } from '../../common/model/ids.js';
import type { Random } from '../../common/random.js';
import { KernelRevision } from '../core/assignments/kernel-revision.js';

/** The connection of one node's agent to this manager. Lives in memory only. */
export interface Session {
  readonly id: string;
  readonly nodeId: string;
  /** When the node was last heard of. */
  lastSeenMs: number;
  /** Which network state the node's kernel shows. */
  readonly kernel: KernelRevision;
  /** Aborts when the session is over; its streams end with the reason. */
  readonly ended: AbortSignal;
}

/** The sessions this manager holds, at most one per node. */
export class Sessions {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #byNode = new Map<string, { session: Session; controller: AbortController }>();

  constructor(modules: { clock: Clock; random: Random }) {
    this.#clock = modules.clock;
    this.#random = modules.random;
  }

  /** Starts a session; an older one of the same node ends. */
  open(nodeId: string): Session {
    this.end(nodeId, new HatobaError('conflict', 'a newer session of this node was opened'));
    const controller = new AbortController();
    const session: Session = {
      id: newId(this.#random),
      nodeId,
      lastSeenMs: this.#clock.nowMs(),
      kernel: new KernelRevision(),
      ended: controller.signal,
    };
    this.#byNode.set(nodeId, { session, controller });
    return session;
  }

  of(nodeId: string): Session | undefined {
    return this.#byNode.get(nodeId)?.session;
  }

  /**
   * The session a call of `nodeId` names; the call counts as a sign of life.
   * @throws {HatobaError} failed-precondition when it is not the node's present session here
   */
  require(nodeId: string, sessionId: string): Session {
    const session = this.of(nodeId);
    if (session === undefined || session.id !== sessionId) {
      throw new HatobaError(
        'failed-precondition',
        'this manager does not hold that session; open a new one',
      );
    }
    session.lastSeenMs = this.#clock.nowMs();
    return session;
  }

  end(nodeId: string, reason: HatobaError): void {
    const held = this.#byNode.get(nodeId);
    if (held === undefined) return;
    this.#byNode.delete(nodeId);
    held.controller.abort(reason);
  }

  /** Ends the sessions of all nodes that `matches` picks. */
  endWhere(matches: (nodeId: string) => boolean, reason: HatobaError): void {
    for (const nodeId of [...this.#byNode.keys()]) if (matches(nodeId)) this.end(nodeId, reason);
  }

  /** Counts the last `ms` for nobody: the manager itself did not run in that time. */
  forgive(ms: number): void {
    const nowMs = this.#clock.nowMs();
    for (const { session } of this.#byNode.values()) {
      session.lastSeenMs = Math.min(nowMs, session.lastSeenMs + ms);
    }
  }
}
