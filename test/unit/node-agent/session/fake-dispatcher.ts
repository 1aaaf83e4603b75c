import { HatobaError } from '../../../../common/errors.js';
import type { Dispatcher, CallOptions } from '../../../../node-agent/session/dispatcher.js';
import type {
  AssignmentsMessage,
  AttachContainerRequest,
  HeartbeatRequest,
  HeartbeatResponse,
  SessionMessage,
  SessionRequest,
  TaskStatusUpdate,
  UpdateTaskStatusRequest,
} from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import {
  AttachContainerResponse,
  SessionMessage as SessionMessages,
} from '../../../../proto/gen/hatoba/v1/dispatcher.js';

/** A stream that a test writes to while somebody reads it. */
export class FakeStream<T> {
  readonly #items: T[] = [];
  #error: Error | undefined;
  #isEnded = false;
  #wake: () => void = () => undefined;

  push(item: T): void {
    this.#items.push(item);
    this.#wake();
  }

  /** Without an error the stream ends in the ordinary way. */
  end(error?: Error): void {
    this.#isEnded = true;
    this.#error = error;
    this.#wake();
  }

  async *read(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    for (;;) {
      signal.throwIfAborted();
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
        continue;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#isEnded) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }
}

/** One manager, as an agent sees it; each connection gets streams of its own. */
export class FakeManager {
  isReachable = true;
  /** Makes every heartbeat fail. */
  heartbeatError: Error | undefined;
  /** Refuses, or delays, reports of statuses. */
  onReport: (updates: TaskStatusUpdate[]) => Promise<void> = () => Promise.resolve();
  answersSession = true;
  /** Whether a connection comes about. */
  connecting: Promise<void> = Promise.resolve();
  /** How long each connection was waited for. */
  readonly connectTimeoutsMs: number[] = [];
  answersAttach = true;
  readonly sessions: SessionRequest[] = [];
  readonly heartbeats: HeartbeatRequest[] = [];
  readonly reports: TaskStatusUpdate[][] = [];
  readonly attached: AttachContainerRequest[] = [];
  sessionStream = new FakeStream<SessionMessage>();
  assignmentStreams: FakeStream<AssignmentsMessage>[] = [];
  managerAddresses: string[] = [];
  connections = 0;
  closed = 0;
  periodMs = 1000;

  connect(): Dispatcher {
    this.connections++;
    return {
      connected: (timeoutMs) => {
        this.connectTimeoutsMs.push(timeoutMs);
        return this.connecting;
      },
      session: (request, signal) => this.#session(request, signal),
      assignments: (_request, signal) => {
        const stream = new FakeStream<AssignmentsMessage>();
        this.assignmentStreams.push(stream);
        return stream.read(signal);
      },
      heartbeat: (request) => this.#heartbeat(request),
      updateTaskStatus: (request, options) => this.#report(request, options),
      attachContainer: (request, { signal }) => {
        this.attached.push(request);
        if (this.answersAttach) return Promise.resolve(AttachContainerResponse.fromPartial({}));
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(new HatobaError('cancelled', 'given up')));
        });
      },
      detachContainer: () => Promise.resolve(),
      keepAttachments: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => {
        this.closed++;
        return Promise.resolve();
      },
    };
  }

  #session(request: SessionRequest, signal: AbortSignal): AsyncIterable<SessionMessage> {
    this.sessions.push(request);
    const stream = new FakeStream<SessionMessage>();
    this.sessionStream = stream;
    if (!this.isReachable) stream.end(new HatobaError('unavailable', 'cannot be reached'));
    else if (this.answersSession) {
      stream.push(
        SessionMessages.fromPartial({
          sessionId: `session-${this.sessions.length}`,
          managerAddresses: this.managerAddresses,
          heartbeatPeriodMs: this.periodMs,
        }),
      );
    }
    return stream.read(signal);
  }

  #heartbeat(request: HeartbeatRequest): Promise<HeartbeatResponse> {
    this.heartbeats.push(request);
    if (this.heartbeatError !== undefined) return Promise.reject(this.heartbeatError);
    return Promise.resolve({ periodMs: this.periodMs });
  }

  async #report(request: UpdateTaskStatusRequest, options: CallOptions): Promise<void> {
    options.signal.throwIfAborted();
    this.reports.push(request.updates);
    await this.onReport(request.updates);
  }
}
