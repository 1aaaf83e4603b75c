import { setMaxListeners } from 'node:events';
import type { PeerCertificate } from 'node:tls';
import type {
  Server,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedHandleCall,
  sendUnaryData,
} from '@grpc/grpc-js';
import { HatobaError, kindOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { NodeRole } from '../gen/hatoba/v1/types.js';
import { checkBounds } from './bounds.js';
import { toServiceError } from './status.js';
import { writeMessage, type MessageSink } from './stream.js';
import type { NodeIdentity } from './tls.js';

/** Who makes a call: someone on this machine's socket, a node by its certificate, or nobody known. */
export type Caller =
  | { readonly kind: 'local' }
  | ({ readonly kind: 'node' } & NodeIdentity)
  | { readonly kind: 'anonymous' };

export interface CallContext {
  readonly caller: Caller;
  /** Aborts when the caller cancels, its deadline passes, its connection breaks or the server stops. */
  readonly signal: AbortSignal;
  /** "10.0.0.1:51234" ("unknown" on a unix socket), for logs. */
  readonly peer: string;
}

type RequestOf<M> = M extends { requestDeserialize: (bytes: Buffer) => infer Q } ? Q : never;
type ResponseOf<M> = M extends { responseSerialize: (value: infer R) => Buffer } ? R : never;

/**
 * A method as an async function. Streams are async iterables both ways: the receiver's pace is the
 * producer's. An iterable returned must end soon after `context.signal` aborts.
 */
export type Handler<M> = M extends { requestStream: false; responseStream: false }
  ? (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>>
  : M extends { requestStream: false; responseStream: true }
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : M extends { requestStream: true; responseStream: false }
      ? (messages: AsyncIterable<RequestOf<M>>, context: CallContext) => Promise<ResponseOf<M>>
      : (
          messages: AsyncIterable<RequestOf<M>>,
          context: CallContext,
        ) => AsyncIterable<ResponseOf<M>>;

/** All methods of a generated service: `Implementation<typeof DispatcherService>`. */
export type Implementation<S> = { readonly [K in keyof S]: Handler<S[K]> };

/**
 * Who may call a method. `node`: holders of a node certificate. `operator`: the local socket, or
 * a manager's certificate.
 */
export type Access = 'anyone' | 'node' | 'operator';
export type AccessRules<S> = { readonly [K in keyof S]: Access };

/** What calls of one listener have in common. */
export interface Edge {
  readonly logger: Logger;
  readonly closing: AbortSignal;
  callerOf(call: SurfaceCall): Caller;
}
/** The part of grpc-js's calls that every kind of method has. */
export interface SurfaceCall {
  getAuthContext(): { sslPeerCertificate?: PeerCertificate };
  getPeer(): string;
  getPath(): string;
  on(event: 'cancelled', listener: () => void): unknown;
}

export interface BoundService {
  addTo(server: Server, edge: Edge): void;
}

/** Ties an implementation to its definition; every call goes through the access rule first. */
export function bindService<S extends ServiceDefinition>(
  definition: S,
  implementation: Implementation<S>,
  access: AccessRules<S>,
): BoundService {
  return {
    addTo: (server, edge) => {
      const handlers: Record<string, UntypedHandleCall> = {};
      for (const [name, method] of Object.entries(definition)) {
        const handler = (implementation as Record<string, AnyHandler>)[name];
        const rule = (access as Record<string, Access>)[name];
        if (handler === undefined || rule === undefined) {
          throw new HatobaError('internal', `${method.path} has no handler or no access rule`);
        }
        handlers[name] = adapt(method, handler.bind(implementation), rule, edge);
      }
      server.addService(definition, handlers);
    },
  };
}

export function isAllowed(access: Access, caller: Caller): boolean {
  switch (access) {
    case 'anyone':
      return true;
    case 'node':
      return caller.kind === 'node';
    case 'operator':
      return (
        caller.kind === 'local' || (caller.kind === 'node' && caller.role === NodeRole.MANAGER)
      );
  }
}

// The generated definitions tie requests to answers; past this line only bytes of one method meet.
type AnyHandler = (
  input: unknown,
  context: CallContext,
) => Promise<unknown> | AsyncIterable<unknown>;

function adapt(
  method: { requestStream: boolean; responseStream: boolean },
  handler: AnyHandler,
  access: Access,
  edge: Edge,
): UntypedHandleCall {
  type Incoming = ServerUnaryCall<unknown, unknown> | ServerReadableStream<unknown, unknown>;
  type Outgoing = ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;
  if (method.responseStream) {
    return (call: Outgoing) => {
      void serve(call, access, edge, async (context) => {
        const input = 'request' in call ? checked(call.request) : incoming(call, context.signal);
        const output = handler(input, context) as AsyncIterable<unknown>;
        await sendEach(call, output, context.signal);
      }).then(
        () => call.end(),
        (error: unknown) => call.emit('error', toServiceError(error)),
      );
    };
  }
  return (call: Incoming, callback: sendUnaryData<unknown>) => {
    void serve(call, access, edge, (context) => {
      const input = 'request' in call ? checked(call.request) : incoming(call, context.signal);
      return handler(input, context) as Promise<unknown>;
    }).then(
      (response) => callback(null, response),
      (error: unknown) => callback(toServiceError(error)),
    );
  };
}

/** Runs one call: access rule, abort signal, and the one place that logs what is unexpected. */
async function serve<T>(
  call: SurfaceCall,
  access: Access,
  edge: Edge,
  run: (context: CallContext) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // a relay to many nodes hangs each of its calls on it
  const onClosing = (): void => {
    controller.abort(new HatobaError('unavailable', 'the server is stopping; try another one'));
  };
  call.on('cancelled', () => {
    controller.abort(new HatobaError('cancelled', 'the caller went away'));
  });
  edge.closing.addEventListener('abort', onClosing, { once: true });
  if (edge.closing.aborted) onClosing();
  const caller = edge.callerOf(call);
  try {
    if (!isAllowed(access, caller)) throw refusal(access, caller, call.getPath());
    return await run({ caller, signal: controller.signal, peer: call.getPeer() });
  } catch (error) {
    // Whatever fails because of the abort is not news; the abort's reason is.
    if (controller.signal.aborted) throw controller.signal.reason;
    if (kindOf(error) === 'internal') {
      edge.logger.error('Call failed', { method: call.getPath(), peer: call.getPeer() }, error);
    }
    throw error;
  } finally {
    edge.closing.removeEventListener('abort', onClosing);
  }
}

/** Sizes are bounded before any handler sees a request; what it means is the handler's to check. */
function checked(request: unknown): unknown {
  if (typeof request === 'object' && request !== null) checkBounds(request, 'request');
  return request;
}

function refusal(access: Access, caller: Caller, path: string): HatobaError {
  if (caller.kind === 'anonymous') {
    return new HatobaError('unauthenticated', `${path} needs a node certificate of this cluster`);
  }
  const needed =
    access === 'operator' ? "a manager's certificate or the local socket" : 'a node certificate';
  return new HatobaError('permission-denied', `${path} needs ${needed}`);
}

async function sendEach(
  sink: MessageSink<unknown>,
  messages: AsyncIterable<unknown>,
  signal: AbortSignal,
): Promise<void> {
  for await (const message of messages) {
    if (!(await writeMessage(sink, message, signal))) break;
  }
  signal.throwIfAborted();
}

/** A caller's messages. The stream outlives the loop that reads it: the answer goes the other way. */
async function* incoming(
  call: ServerReadableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  signal: AbortSignal,
): AsyncGenerator<unknown, void, undefined> {
  try {
    const messages = call.iterator({ destroyOnReturn: false }) as AsyncIterable<unknown>;
    for await (const message of messages) yield checked(message);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
