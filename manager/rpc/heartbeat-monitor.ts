import { HatobaError, isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Node } from '../../common/model/objects.js';
import { NodeState } from '../../proto/gen/hatoba/v1/types.js';
import { recentLosses } from '../core/node-trust.js';
import { judgeNode, type NodeVerdict } from '../core/node-verdict.js';
import type { Plan } from '../core/snapshot.js';
import { applyPlan } from '../store/write.js';
import type { View } from '../view/view.js';
import type { HostProbe } from './host-probe.js';
import type { Sessions } from './sessions.js';
import { writePlan, type ClusterAccess } from './write-plan.js';

export const DEFAULT_HEARTBEAT_MS = 1000;
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

/** Silence, in heartbeat periods, after which the host itself is asked. */
const PROBE_AFTER = 1.5;

/** What is done about a node that is silent. */
interface Silence {
  /** Its last sign of life; a change of state that comes of the silence does not end it. */
  sinceMs: number;
  askedMs: number;
  /** When its host last refused a connection. */
  refusedMs: number;
}

/**
 * Judges the nodes that this manager answers for (`status.managerId`) by their heartbeats and, when
 * those are missing, by whether the host still answers for its agent. Only the change is written. A
 * broken stream alone means nothing.
 */
export class HeartbeatMonitor implements AsyncDisposable {
  readonly #cluster: ClusterAccess;
  readonly #sessions: Sessions;
  readonly #nodeId: string;
  readonly #logger: Logger;
  #startMs: number;
  readonly #probe: HostProbe;
  readonly #writing = new Map<string, Promise<void>>();
  readonly #silences = new Map<string, Silence>();
  #cancelTimer: () => void = () => undefined;
  #dueMs = 0;
  /** Ends waits that a stop must not wait for. */
  readonly #end = new AbortController();

  constructor(
    cluster: ClusterAccess,
    modules: { sessions: Sessions; nodeId: string; logger: Logger; probe: HostProbe },
  ) {
    this.#cluster = cluster;
    this.#sessions = modules.sessions;
    this.#nodeId = modules.nodeId;
    this.#logger = modules.logger;
    this.#probe = modules.probe;
    this.#startMs = cluster.clock.nowMs();
    this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new HatobaError('unavailable', 'this manager is stopping'));
    this.#cancelTimer();
    await Promise.all(this.#writing.values());
  }

  /**
   * The node's agent ends in an orderly way: its containers go on, so its tasks need no
   * replacement. Resolves once the view shows it.
   */
  async disconnect(nodeId: string): Promise<void> {
    await this.#writing.get(nodeId);
    const leaving = this.#leave(nodeId).finally(() => this.#writing.delete(nodeId));
    // Its last heartbeat must not be taken for a sign that it is back.
    this.#writing.set(
      nodeId,
      leaving.catch(() => undefined),
    );
    await leaving;
  }

  async #leave(nodeId: string): Promise<void> {
    const { view, clock } = this.#cluster;
    const decide = (): Plan | undefined => {
      const node = view.node(nodeId);
      if (node?.status.state !== NodeState.READY) return undefined;
      const message = 'its agent was stopped; its containers go on';
      const verdict = { state: NodeState.DISCONNECTED, message, isUnreachable: false };
      const object = withVerdict(node, verdict, clock.nowMs());
      return { groups: [[{ action: 'update', kind: 'node', object }]] };
    };
    await writePlan(this.#cluster, decide, this.#end.signal);
    this.#silences.delete(nodeId);
    this.#sessions.end(nodeId, reopen('the agent said that it ends'));
    this.#logger.info('Node disconnected', { nodeId });
  }

  #schedule(): void {
    if (this.#end.signal.aborted) return;
    this.#dueMs = this.#cluster.clock.nowMs() + CHECK_EVERY_MS;
    this.#cancelTimer = this.#cluster.clock.setTimer(CHECK_EVERY_MS, () => {
      this.#check();
      this.#schedule();
    });
  }

  #check(): void {
    const { view, clock } = this.#cluster;
    const nowMs = clock.nowMs();
    if (nowMs - this.#dueMs > LATE_MS) this.#forgive(nowMs - this.#dueMs);
    this.#sessions.endWhere(
      (nodeId) => view.node(nodeId) === undefined,
      reopen('the node was removed from the cluster'),
    );
    for (const nodeId of this.#silences.keys()) {
      if (view.node(nodeId) === undefined) this.#silences.delete(nodeId);
    }
    for (const node of view.nodes()) {
      if (this.#writing.has(node.id)) continue;
      const { state } = node.status;
      if (!this.#answersFor(node)) {
        this.#sessions.end(node.id, reopen('the node went to another manager'));
      } else if (state === NodeState.READY || state === NodeState.DISCONNECTED) {
        this.#judge(node, nowMs);
      } else {
        // Opening a session writes READY: a session beside this state was overtaken by a late verdict.
        this.#sessions.end(node.id, reopen('the node was declared down'));
      }
    }
  }

  /** Time in which this process did not run counts for no node, with a session or on its way here. */
  #forgive(ms: number): void {
    this.#sessions.forgive(ms);
    this.#startMs += ms;
    for (const silence of this.#silences.values()) silence.sinceMs += ms;
  }

  #judge(node: Node, nowMs: number): void {
    const periodMs = heartbeatPeriodMs(this.#cluster.view);
    const session = this.#sessions.of(node.id);
    const known = this.#silences.get(node.id);
    const sinceMs = session?.lastSeenMs ?? known?.sinceMs ?? this.#lastWriteMs(node);
    const silentMs = nowMs - sinceMs;
    const silence = known ?? { sinceMs, askedMs: -Infinity, refusedMs: -Infinity };
    silence.sinceMs = sinceMs;
    if (silentMs < PROBE_AFTER * periodMs) this.#silences.delete(node.id);
    else {
      this.#silences.set(node.id, silence);
      if (nowMs - silence.askedMs >= periodMs) this.#ask(node, silence);
    }
    const { state, stateChangedAtMs, lostAtMs, unreachable: isUnreachable } = node.status;
    const verdict = judgeNode({
      state,
      stateForMs: nowMs - stateChangedAtMs,
      silentMs,
      isConnected: session !== undefined,
      refusedAgoMs: nowMs - silence.refusedMs,
      heartbeatPeriodMs: periodMs,
      losses: recentLosses(lostAtMs, nowMs).length,
      isUnreachable,
    });
    if (verdict !== undefined) this.#declare(node, verdict);
  }

  #ask(node: Node, silence: Silence): void {
    const { clock } = this.#cluster;
    silence.askedMs = clock.nowMs();
    void this.#probe(node.description.agentAddress).then((answer) => {
      if (answer === 'refused') silence.refusedMs = clock.nowMs();
    });
  }

  /** What a node without a session here counts from: its last write, or when it could find us. */
  #lastWriteMs({ status: { state, stateChangedAtMs }, updatedAtMs }: Node): number {
    const writtenMs = state === NodeState.READY ? updatedAtMs : stateChangedAtMs;
    return Math.max(this.#startMs + START_GRACE_MS, writtenMs);
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

  #declare(node: Node, verdict: NodeVerdict): void {
    const writing = this.#write(node, verdict).finally(() => this.#writing.delete(node.id));
    this.#writing.set(node.id, writing);
  }

  async #write(node: Node, verdict: NodeVerdict): Promise<void> {
    const { state, message } = verdict;
    const { store, view, clock } = this.#cluster;
    if (state === NodeState.DOWN) this.#sessions.end(node.id, reopen(message));
    try {
      const object = withVerdict(node, verdict, clock.nowMs());
      const plan = { groups: [[{ action: 'update', kind: 'node', object } as const]] };
      const { revision, conflicts } = await applyPlan(store, plan, { clock });
      if (conflicts > 0) return; // the node changed: the next check looks at it anew
      await view.waitFor(revision, this.#end.signal);
      const fields = { nodeId: node.id, hostname: node.description.hostname };
      if (state === NodeState.READY) this.#logger.info('Heard of a silent node again', fields);
      else this.#logger.warn('Lost a node', { ...fields, state, message });
    } catch (error) {
      // The next check tries again, as the store still says what it said.
      const level = isKind(error, 'unavailable', 'cancelled') ? 'warn' : 'error';
      this.#logger[level]('Could not record that a node is lost', { nodeId: node.id }, error);
    }
  }
}

function withVerdict(node: Node, verdict: NodeVerdict, nowMs: number): Node {
  const { state, message, isUnreachable: unreachable } = verdict;
  const { status } = node;
  const stateChangedAtMs = state === status.state ? status.stateChangedAtMs : nowMs;
  const lostAtMs =
    state === NodeState.DOWN ? recentLosses([...status.lostAtMs, nowMs], nowMs) : status.lostAtMs;
  return {
    ...node,
    status: { ...status, state, message, stateChangedAtMs, lostAtMs, unreachable },
  };
}

function reopen(reason: string): HatobaError {
  return new HatobaError('failed-precondition', `${reason}; open a new session`);
}
