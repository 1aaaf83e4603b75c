import type { Readable } from 'node:stream';
import { createSecureContext } from 'node:tls';
import type { ChannelCredentials } from '@grpc/grpc-js';
import {
  InterceptingCall,
  Metadata,
  type Client,
  credentials as grpcCredentials,
  status as Status,
  type CallOptions,
  type ClientOptions,
  type ClientUnaryCall,
  type ClientWritableStream,
  type Interceptor,
  type ServiceError,
} from '@grpc/grpc-js';
import { HatobaError } from '../../common/errors.js';
import { fromServiceError } from './status.js';
import { writeMessage } from './stream.js';
import { MIN_TLS_VERSION, SERVER_NAMES, type TlsIdentity } from './tls.js';

/** Largest message a client takes: a listing of 100,000 tasks fits. */
const MAX_MESSAGE_BYTES = 128 * 1024 * 1024;

/** Where a server is and how both sides prove who they are. */
export interface ChannelTarget {
  /** "10.0.0.1:4400" or "unix:/run/hatoba/manager.sock". */
  readonly address: string;
  readonly security: ChannelSecurity;
}

/**
 * `local`: a unix socket; its file mode is the check. `mtls`: both sides by certificate;
 * `serverName` is the name the server's certificate must carry (a node id, or SERVER_NAMES).
 * `tls`: the caller has no certificate yet. `unverified`: only to fetch the root certificate,
 * which the caller then compares with the digest in its join token.
 */
export type ChannelSecurity =
  | { readonly kind: 'local' }
  | { readonly kind: 'mtls'; readonly identity: TlsIdentity; readonly serverName: string }
  | { readonly kind: 'tls'; readonly caPem: string; readonly serverName: string }
  | { readonly kind: 'unverified' };

/** The target of a daemon on this machine, by the path of its socket. */
export function localTarget(socketPath: string): ChannelTarget {
  return { address: `unix:${socketPath}`, security: { kind: 'local' } };
}

/** What the constructor of a generated client takes. */
export interface ChannelArguments {
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly options: Partial<ClientOptions>;
}

export function createChannelOptions(target: ChannelTarget): ChannelArguments {
  const { address, security } = target;
  const options: Partial<ClientOptions> = {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 2000,
    // A peer that lost power sends no FIN: open streams must notice within seconds.
    'grpc.keepalive_time_ms': 5000,
    'grpc.keepalive_timeout_ms': 3000,
    // Node-to-node traffic never goes through a proxy of the environment.
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
    // close() closes the connection, and two clients share no fate.
    'grpc.use_local_subchannel_pool': 1,
    interceptors: [nameAddress(address)],
  };
  if (security.kind !== 'local') {
    // Unverified, the name only fills the handshake's SNI, which may not be an IP address.
    options['grpc.ssl_target_name_override'] =
      security.kind === 'unverified' ? SERVER_NAMES.manager : security.serverName;
  }
  return { address, credentials: credentialsFor(security), options };
}

/**
 * @example openClient(ControlClient, localTarget('/run/hatoba/manager.sock'))
 * @param settings.isPatient calls have no deadline: what is asked for takes as long as it takes, and
 *   that the other side is there is known by keepalive
 */
export function openClient<C>(
  Client: new (
    address: string,
    credentials: ChannelCredentials,
    options?: Partial<ClientOptions>,
  ) => C,
  target: ChannelTarget,
  settings: { isPatient?: boolean } = {},
): C {
  const { address, credentials, options } = createChannelOptions(target);
  if (settings.isPatient === true) options.interceptors?.unshift(withoutDeadline);
  return new Client(address, credentials, options);
}

function withoutDeadline(...[options, nextCall]: Parameters<Interceptor>): InterceptingCall {
  return new InterceptingCall(nextCall({ ...options, deadline: Infinity }));
}

function credentialsFor(security: ChannelSecurity): ChannelCredentials {
  const common = { minVersion: MIN_TLS_VERSION } as const;
  switch (security.kind) {
    case 'local':
      return grpcCredentials.createInsecure();
    case 'mtls': {
      const { caPem: ca, certPem: cert, keyPem: key } = security.identity;
      return fromContext({ ...common, ca, cert, key });
    }
    case 'tls':
      return fromContext({ ...common, ca: security.caPem });
    case 'unverified':
      return fromContext(common, { rejectUnauthorized: false });
  }
}

function fromContext(
  context: Parameters<typeof createSecureContext>[0],
  verify: { rejectUnauthorized?: boolean } = {},
): ChannelCredentials {
  return grpcCredentials.createFromSecureContext(createSecureContext(context), verify);
}

/** Says in the status of a call that could not be made which address was tried. */
function nameAddress(address: string): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, _listener, next) => {
        next(metadata, {
          onReceiveStatus: (status, nextStatus) => {
            const unreachable = status.code === Status.UNAVAILABLE;
            nextStatus(
              unreachable
                ? { ...status, details: describeUnavailable(address, status.details) }
                : status,
            );
          },
        });
      },
    });
}

const LOCAL_FAILURES =
  /^(No connection established|Connection dropped|Name resolution failed|read E|write E|The server)/;

/** "10.0.0.1:4400 cannot be reached: connect ECONNREFUSED 10.0.0.1:4400" */
function describeUnavailable(address: string, details: string): string {
  if (!LOCAL_FAILURES.test(details)) return details;
  const last = /Last error: (?:Error(?: \[\w+\])?: )?(.*?)\.?(?: Resolution note:.*)?$/.exec(
    details,
  );
  // grpc-js says only this when the peer hung up during or after the handshake.
  const cause = (last?.[1] ?? details).replace(
    /^Failed to connect\b.*/,
    'the connection was closed by the other side',
  );
  return `${address} cannot be reached: ${cause}`;
}

/** Without the cause: it says the same text again behind gRPC's code. */
function fromFailedCall(error: unknown): HatobaError {
  const { kind, message, detail } = fromServiceError(error);
  return new HatobaError(kind, message, { detail });
}

export interface CallSettings {
  /** Default 10,000. A patient client has none. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/**
 * One call with one answer: `unary(client.getNode.bind(client), { node: 'n1' })`.
 * @throws {HatobaError} of the server's kind; `unavailable` and `deadline` from the connection
 * @throws the signal's reason when it aborts
 */
export function unary<Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  settings: CallSettings = {},
): Promise<Response> {
  return settle(settings, (callback, options) =>
    method(request, new Metadata(), options, callback),
  );
}

/**
 * Resolves once the connection of a client stands, whose calls would else wait for it.
 * @throws {HatobaError} deadline
 */
export function untilReady(client: Client, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + timeoutMs, (error) => {
      if (error === undefined) resolve();
      else
        reject(new HatobaError('deadline', 'no connection came about in time', { cause: error }));
    });
  });
}

type ClientStreamMethod<Request, Response> = (
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientWritableStream<Request>;

/**
 * Sends all of `messages`, no faster than the server takes them, and waits for its one answer.
 * Without `timeoutMs` there is no deadline: archives may be large.
 * @throws as `unary`, and whatever `messages` throws (the call is then cancelled)
 */
export function sendStream<Request, Response>(
  method: ClientStreamMethod<Request, Response>,
  messages: AsyncIterable<Request> | Iterable<Request>,
  settings: CallSettings = {},
): Promise<Response> {
  let failure: Error | undefined;
  const limits = { ...settings, timeoutMs: settings.timeoutMs ?? Infinity };
  const answer = settle<Response>(limits, (callback, options) => {
    const call = method(new Metadata(), options, callback);
    sendAll(call, messages, settings.signal).catch((error: unknown) => {
      failure = error instanceof Error ? error : new Error(String(error));
      call.cancel();
    });
    return call;
  });
  return answer.catch((error: unknown) => {
    throw failure ?? error;
  });
}

/**
 * Writes `messages` to an open stream with backpressure, then ends the sending side. Returns early
 * when the stream ends first.
 */
export async function sendAll<Request>(
  call: ClientWritableStream<Request>,
  messages: AsyncIterable<Request> | Iterable<Request>,
  signal?: AbortSignal,
): Promise<void> {
  for await (const message of messages) {
    if (!(await writeMessage(call, message, signal))) return;
  }
  call.end();
}

function settle<Response>(
  settings: CallSettings,
  start: (
    callback: (error: ServiceError | null, response: Response) => void,
    options: Partial<CallOptions>,
  ) => { cancel(): void },
): Promise<Response> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = settings;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const options = Number.isFinite(timeoutMs) ? { deadline: Date.now() + timeoutMs } : {};
    const onAbort = (): void => {
      call.cancel();
    };
    const call = start((error, response) => {
      signal?.removeEventListener('abort', onAbort);
      if (error === null) resolve(response);
      else reject(signal?.aborted === true ? (signal.reason as Error) : fromFailedCall(error));
    }, options);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** What calls that stream to the client have in common. */
interface ReadingCall<T> extends Readable {
  readonly deserialize: (bytes: Buffer) => T;
  cancel(): void;
}

/**
 * The messages of a server's stream, also of a call that goes both ways:
 * `for await (const m of readStream(client.session(request)))`.
 * Leaving the loop early cancels the call; a slow loop slows the server down.
 * @throws {HatobaError} of the server's kind when the stream fails; the signal's reason on abort
 */
export function readStream<T>(
  call: ReadingCall<T>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  let failure: unknown;
  // Listening from the start: a failure before the first read must not become an uncaught error.
  call.on('error', (error) => {
    failure ??= error;
  });
  const onAbort = (): void => {
    call.cancel();
  };
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  return (async function* messages() {
    try {
      for await (const message of call as AsyncIterable<T>) yield message;
    } catch (error) {
      failure ??= error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      call.cancel();
    }
    if (signal?.aborted === true) throw signal.reason as Error;
    if (failure !== undefined) throw fromFailedCall(failure);
  })();
}
