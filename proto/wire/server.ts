import { chmod, chown, readFile, unlink } from 'node:fs/promises';
import { constants } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { Server, ServerCredentials, type ConnectionInjector } from '@grpc/grpc-js';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { BoundService, Caller, SurfaceCall } from './service.js';
import { identityOfCertificate, MIN_TLS_VERSION, type TlsIdentity } from './tls.js';

/** Largest message a server takes: a stack of some thousand services fits. */
const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How long calls in progress may take to end once the server stops. */
const CLOSE_GRACE_MS = 1000;
/** The group that may use the local sockets, where it exists. */
const SOCKET_GROUP = 'hatoba';

export interface RpcServer extends AsyncDisposable {
  /** The TCP port bound; 0 for a unix socket. */
  readonly port: number;
}

interface ServeOptions {
  readonly services: readonly BoundService[];
  readonly logger: Logger;
}

/**
 * Serves gRPC over TLS 1.3. A client certificate is asked for and not required (a machine that
 * joins has none); a connection whose certificate is not of our CA is dropped.
 * grpc-js cannot express that, so the TLS server is ours and hands it finished connections.
 * @throws {HatobaError} failed-precondition when the address cannot be bound
 */
export async function listenTls(
  options: ServeOptions & { host: string; port: number; identity: TlsIdentity },
): Promise<RpcServer> {
  const { host, port, identity, logger } = options;
  const core = createCore(options, callerByCertificate);
  const listener = createTlsServer(
    {
      ca: identity.caPem,
      cert: identity.certPem,
      key: identity.keyPem,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: MIN_TLS_VERSION,
      ALPNProtocols: ['h2'],
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      // A resumed session would not present its certificate again.
      secureOptions: constants.SSL_OP_NO_TICKET,
    },
    (socket) => {
      socket.on('error', () => undefined); // 'close' follows, which gRPC handles
      if (isAcceptable(socket)) core.injector.injectConnection(socket);
      else {
        logger.warn('Refused certificate', {
          peer: `${socket.remoteAddress ?? ''}:${socket.remotePort ?? ''}`,
          reason: String(socket.authorizationError),
        });
        socket.destroy();
      }
    },
  );
  listener.on('tlsClientError', (error) => {
    logger.debug('TLS handshake failed', {}, error);
  });
  return start(listener, core, { host, port }, `${host}:${port}`);
}

/**
 * Serves gRPC on a unix socket for root and the group `hatoba` (if it exists). A socket file that
 * nobody listens on is replaced.
 * @throws {HatobaError} failed-precondition when another process listens there
 */
export async function listenUnix(options: ServeOptions & { path: string }): Promise<RpcServer> {
  const { path } = options;
  if (await isListening(path)) {
    throw new HatobaError(
      'failed-precondition',
      `another process already listens on ${path}; stop it first`,
    );
  }
  await unlink(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
  });
  const core = createCore(options, () => ({ kind: 'local' }));
  const listener = createServer((socket) => {
    socket.on('error', () => undefined);
    core.injector.injectConnection(socket);
  });
  const server = await start(listener, core, { path }, path);
  await restrict(path);
  return server;
}

interface Core {
  readonly grpc: Server;
  readonly injector: ConnectionInjector;
  readonly closing: AbortController;
}

function createCore(options: ServeOptions, callerOf: (call: SurfaceCall) => Caller): Core {
  const grpc = new Server({
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5000,
  });
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // each call in progress is one
  for (const service of options.services) {
    service.addTo(grpc, { logger: options.logger, closing: closing.signal, callerOf });
  }
  return {
    grpc,
    closing,
    injector: grpc.createConnectionInjector(ServerCredentials.createInsecure()),
  };
}

function isAcceptable(socket: TLSSocket): boolean {
  return socket.getPeerX509Certificate() === undefined || socket.authorized;
}

function callerByCertificate(call: SurfaceCall): Caller {
  const certificate = call.getAuthContext().sslPeerCertificate;
  const identity = certificate === undefined ? undefined : identityOfCertificate(certificate);
  return identity === undefined ? { kind: 'anonymous' } : { kind: 'node', ...identity };
}

async function start(
  listener: NetServer,
  core: Core,
  where: { host: string; port: number } | { path: string },
  name: string,
): Promise<RpcServer> {
  const sockets = new Set<Socket>();
  listener.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void => {
      core.grpc.forceShutdown();
      reject(new HatobaError('failed-precondition', `cannot listen on ${name}: ${error.message}`));
    };
    listener.once('error', onError);
    listener.listen(where, () => {
      listener.removeListener('error', onError);
      resolve();
    });
  });
  const address = listener.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: () => stop(listener, core, sockets),
  };
}

async function stop(listener: NetServer, core: Core, sockets: Set<Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
  core.closing.abort();
  await new Promise<void>((resolve) => {
    const giveUp = setTimeout(resolve, CLOSE_GRACE_MS);
    core.grpc.tryShutdown(() => {
      clearTimeout(giveUp);
      resolve();
    });
  });
  core.grpc.forceShutdown();
  for (const socket of sockets) socket.destroy();
  await closed;
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

/** root:hatoba 0660, or root alone where the group does not exist. */
async function restrict(path: string): Promise<void> {
  await chmod(path, 0o660);
  if (process.getuid?.() !== 0) return;
  await chown(path, 0, (await groupId(SOCKET_GROUP)) ?? 0);
}

async function groupId(name: string): Promise<number | undefined> {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '');
  const line = groups.split('\n').find((l) => l.startsWith(`${name}:`));
  const id = Number(line?.split(':')[2]);
  return Number.isInteger(id) ? id : undefined;
}
