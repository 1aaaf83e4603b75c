import type {
  AssignmentsMessage,
  AssignmentsRequest,
  AttachContainerRequest,
  AttachContainerResponse,
  DetachContainerRequest,
  HeartbeatRequest,
  HeartbeatResponse,
  KeepAttachmentsRequest,
  SessionMessage,
  SessionRequest,
  UpdateTaskStatusRequest,
} from '../../proto/gen/hatoba/v1/dispatcher.js';

/**
 * A connection to the dispatcher of one manager. All calls throw HatobaErrors: `not-found` when
 * the session is not known (any more), `unavailable` and `deadline` when the manager cannot be
 * reached; the signal's reason when it aborts.
 */
export interface Dispatcher extends AsyncDisposable {
  /** Resolves once the connection stands; `deadline` when it does not in time. */
  connected(timeoutMs: number): Promise<void>;
  session(request: SessionRequest, signal: AbortSignal): AsyncIterable<SessionMessage>;
  assignments(request: AssignmentsRequest, signal: AbortSignal): AsyncIterable<AssignmentsMessage>;
  heartbeat(request: HeartbeatRequest, options: CallOptions): Promise<HeartbeatResponse>;
  updateTaskStatus(request: UpdateTaskStatusRequest, options: CallOptions): Promise<void>;
  attachContainer(
    request: AttachContainerRequest,
    options: CallOptions,
  ): Promise<AttachContainerResponse>;
  detachContainer(request: DetachContainerRequest, options: CallOptions): Promise<void>;
  keepAttachments(request: KeepAttachmentsRequest, options: CallOptions): Promise<void>;
}

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** @param address "host:port" of a manager; connects at the first call */
export type ConnectDispatcher = (address: string) => Dispatcher;
