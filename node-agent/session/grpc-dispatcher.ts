import { DispatcherClient } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { openClient, readStream, unary, untilReady } from '../../proto/wire/client.js';
import { SERVER_NAMES, type TlsIdentity } from '../../proto/wire/tls.js';
import type { Dispatcher } from './dispatcher.js';

/** The dispatcher of the manager at `address`, over mTLS with the node's certificate. */
export function connectGrpcDispatcher(address: string, identity: TlsIdentity): Dispatcher {
  const client = openClient(DispatcherClient, {
    address,
    security: { kind: 'mtls', identity, serverName: SERVER_NAMES.manager },
  });
  return {
    connected: (timeoutMs) => untilReady(client, timeoutMs),
    session: (request, signal) => readStream(client.session(request), signal),
    assignments: (request, signal) => readStream(client.assignments(request), signal),
    heartbeat: (request, options) => unary(client.heartbeat.bind(client), request, options),
    updateTaskStatus: async (request, options) => {
      await unary(client.updateTaskStatus.bind(client), request, options);
    },
    attachContainer: (request, options) =>
      unary(client.attachContainer.bind(client), request, options),
    detachContainer: async (request, options) => {
      await unary(client.detachContainer.bind(client), request, options);
    },
    keepAttachments: async (request, options) => {
      await unary(client.keepAttachments.bind(client), request, options);
    },
    [Symbol.asyncDispose]: () => {
      client.close();
      return Promise.resolve();
    },
  };
}
