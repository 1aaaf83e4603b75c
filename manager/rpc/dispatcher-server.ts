import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Task } from '../../common/model/objects.js';
import type { Random } from '../../common/random.js';
import {
  DispatcherService,
  type AssignmentsMessage,
  type AssignmentsRequest,
  type AttachContainerRequest,
  type AttachContainerResponse,
  type DetachContainerRequest,
  type DetachContainerResponse,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type KeepAttachmentsRequest,
  type KeepAttachmentsResponse,
  type SessionMessage,
  type SessionRequest,
  type UpdateTaskStatusRequest,
  type UpdateTaskStatusResponse,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { checkNodeDescription } from '../../proto/wire/check.js';
import {
  bindService,
  type AccessRules,
  type BoundService,
  type CallContext,
  type Implementation,
} from '../../proto/wire/service.js';
import type { NodeIdentity } from '../../proto/wire/tls.js';
import { Attachments } from './attachments.js';
import { AssignmentFeed, type AssignmentModel } from './assignments.js';
import type { HostProbe } from './host-probe.js';
import { heartbeatPeriodMs, HeartbeatMonitor } from './heartbeat-monitor.js';
import { NetworkOrders } from './network-orders.js';
import { NodeDescriptions } from './node-descriptions.js';
import { registerNode, type OwnManager } from './node-registry.js';
import { Pulse } from './pulse.js';
import { Sessions, type Session } from './sessions.js';
import { StatusWriter } from './status-writer.js';
import type { ClusterAccess } from './write-plan.js';

/** A node can see and report only what is its own, so every call needs its certificate. */
const ACCESS: AccessRules<typeof DispatcherService> = {
  session: 'node',
  heartbeat: 'node',
  updateTaskStatus: 'node',
  assignments: 'node',
  attachContainer: 'node',
  detachContainer: 'node',
  keepAttachments: 'node',
};

export interface DispatcherModules<State> {
  readonly cluster: ClusterAccess;
  readonly model: AssignmentModel<State>;
  readonly own: OwnManager;
  readonly random: Random;
  readonly logger: Logger;
  readonly probe: HostProbe;
  /** Told of each session that opens. */
  readonly onSession: (nodeId: string) => void;
}

/** The agents' side of one manager. Runs on every manager, leader or not. */
export class DispatcherServer<State>
  implements Implementation<typeof DispatcherService>, AsyncDisposable
{
  readonly #cluster: ClusterAccess;
  readonly #own: OwnManager;
  readonly #logger: Logger;
  readonly #sessions: Sessions;
  readonly #onSession: (nodeId: string) => void;
  readonly #monitor: HeartbeatMonitor;
  readonly #statuses: StatusWriter;
  readonly #feed: AssignmentFeed<State>;
  readonly #attachments: Attachments;
  readonly #orders: NetworkOrders;
  readonly #descriptions: NodeDescriptions;

  constructor(modules: DispatcherModules<State>) {
    const { cluster, own, random, logger, probe } = modules;
    this.#cluster = cluster;
    this.#onSession = modules.onSession;
    this.#own = own;
    this.#logger = logger;
    this.#sessions = new Sessions({ clock: cluster.clock, random });
    this.#statuses = new StatusWriter(cluster);
    this.#attachments = new Attachments(cluster, random);
    this.#descriptions = new NodeDescriptions(cluster, { logger });
    const { view, clock } = cluster;
    this.#orders = new NetworkOrders({
      ...{ view, clock },
      onReleased: (nodeIds) => feed.wake(nodeIds),
    });
    const desiredFor = (task: Task): TaskState => this.#orders.desiredFor(task);
    const feed = new AssignmentFeed({ view, clock, model: modules.model, desiredFor });
    this.#feed = feed;
    const { nodeId } = own;
    const sessions = this.#sessions;
    this.#monitor = new HeartbeatMonitor(cluster, { sessions, nodeId, logger, probe });
  }

  service(): BoundService {
    return bindService(DispatcherService, this, ACCESS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#monitor[Symbol.asyncDispose]();
    await this.#feed[Symbol.asyncDispose]();
    await this.#orders[Symbol.asyncDispose]();
    await this.#descriptions[Symbol.asyncDispose]();
    await this.#statuses[Symbol.asyncDispose]();
  }

  /** Store revision of the network state that the kernel of a node connected here shows. */
  appliedNetworkRevision(nodeId: string): number | undefined {
    const revision = this.#sessions.of(nodeId)?.kernel.value ?? 0;
    return revision === 0 ? undefined : revision;
  }

  /** What an order for the task waits for, for people; empty when it waits for nothing. */
  networkWaitOf(taskId: string): string {
    return this.#orders.waitOf(taskId);
  }

  async *session(
    request: SessionRequest,
    context: CallContext,
  ): AsyncGenerator<SessionMessage, void, undefined> {
    const identity = nodeOf(context);
    if (request.description === undefined) {
      throw new HatobaError('invalid-argument', 'the session request has no node description');
    }
    const description = checkNodeDescription(request.description);
    this.#descriptions.forget(identity.nodeId);
    await registerNode(this.#cluster, this.#own, identity, description, context.signal);
    const session = this.#sessions.open(identity.nodeId);
    this.#onSession(identity.nodeId);
    this.#logger.info('Opened session', {
      nodeId: identity.nodeId,
      hostname: description.hostname,
      peer: context.peer,
    });
    yield* this.#sessionMessages(session, AbortSignal.any([context.signal, session.ended]));
  }

  async heartbeat(request: HeartbeatRequest, context: CallContext): Promise<HeartbeatResponse> {
    const session = this.#require(context, request.sessionId);
    const { nodeId, kernel } = session;
    kernel.onConfirmed(request.appliedNetworkRevision);
    this.#orders.onShown(nodeId, kernel.value);
    const { description } = request;
    const checked = description === undefined ? undefined : checkNodeDescription(description);
    this.#descriptions.onHeartbeat(nodeId, checked);
    if (request.leaving === true) await this.#monitor.disconnect(nodeId);
    return { periodMs: heartbeatPeriodMs(this.#cluster.view) };
  }

  async updateTaskStatus(
    request: UpdateTaskStatusRequest,
    context: CallContext,
  ): Promise<UpdateTaskStatusResponse> {
    const { nodeId } = this.#require(context, request.sessionId);
    await this.#statuses.report(nodeId, request.updates);
    return {};
  }

  async *assignments(
    request: AssignmentsRequest,
    context: CallContext,
  ): AsyncGenerator<AssignmentsMessage, void, undefined> {
    const session = this.#require(context, request.sessionId);
    const signal = AbortSignal.any([context.signal, session.ended]);
    const { nodeId, kernel } = session;
    yield* this.#feed.messages(nodeId, signal, (revision, isNetworkChanged) => {
      kernel.onLooked(revision, isNetworkChanged);
      this.#orders.onShown(nodeId, kernel.value);
    });
  }

  async attachContainer(
    request: AttachContainerRequest,
    context: CallContext,
  ): Promise<AttachContainerResponse> {
    const { nodeId } = this.#require(context, request.sessionId);
    return await this.#attachments.attach(nodeId, request, context.signal);
  }

  async detachContainer(
    request: DetachContainerRequest,
    context: CallContext,
  ): Promise<DetachContainerResponse> {
    const { nodeId } = this.#require(context, request.sessionId);
    await this.#attachments.detach(nodeId, request, context.signal);
    return {};
  }

  async keepAttachments(
    request: KeepAttachmentsRequest,
    context: CallContext,
  ): Promise<KeepAttachmentsResponse> {
    const { nodeId } = this.#require(context, request.sessionId);
    await this.#attachments.keep(nodeId, request, context.signal);
    return {};
  }

  #require(context: CallContext, sessionId: string): Session {
    return this.#sessions.require(nodeOf(context).nodeId, sessionId);
  }

  /** One at once, then one whenever the managers or the node's spec changed. */
  async *#sessionMessages(
    session: Session,
    signal: AbortSignal,
  ): AsyncGenerator<SessionMessage, void, undefined> {
    const pulse = new Pulse();
    const unsubscribe = this.#cluster.view.onChange((changes) => {
      if (changes.some((c) => c.kind === 'node' || c.kind === 'cluster')) pulse.fire();
    });
    try {
      for (let sent = ''; ; await pulse.wait(signal)) {
        const message = this.#sessionMessage(session);
        const tellingPart = JSON.stringify({ ...message, node: message.node?.spec });
        if (tellingPart === sent) continue;
        sent = tellingPart;
        yield message;
      }
    } finally {
      unsubscribe();
    }
  }

  #sessionMessage(session: Session): SessionMessage {
    const { view } = this.#cluster;
    const addresses = new Set([this.#own.address]);
    for (const node of view.nodes()) {
      const address = node.managerStatus?.addr ?? '';
      if (address !== '') addresses.add(address);
    }
    return {
      sessionId: session.id,
      node: view.node(session.nodeId),
      managerAddresses: [...addresses],
      rootCaCertificatePem: view.cluster()?.rootCaCertificatePem ?? '',
      heartbeatPeriodMs: heartbeatPeriodMs(view),
    };
  }
}

function nodeOf(context: CallContext): NodeIdentity {
  if (context.caller.kind === 'node') return context.caller;
  throw new HatobaError('unauthenticated', 'this call needs a node certificate of this cluster');
}
