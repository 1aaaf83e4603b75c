import { parentPort } from 'node:worker_threads';
import { describeError, HatobaError, InvariantError, kindOf } from '../common/errors.js';
import { fileHandlers } from './files.js';
import { pinCrunMountNamespace, unpinMountNamespace } from './mount-namespace.js';
import { mountHandlers } from './mount.js';
import { LinuxNetlink } from './netlink/netlink.js';
import { LinuxNftables } from './nftables.js';
import { NetnsThread, dropNetns, hasNetns, writeSysctls } from './netns.js';
import type { CallError, CallRequest, KernelCalls, WorkerMessage } from './protocol.js';
import { mountOverlay } from './overlay.js';
import { ProcessSpawner } from './spawn.js';
import { UserNamespaces } from './user-namespaces.js';
import { socketHandlers } from './unix-socket.js';

/**
 * The worker thread that makes Hatoba's system calls, one at a time and each to its end: many of
 * them block for a moment, and entering a namespace concerns the whole thread.
 */
function startWorker(): void {
  const port = parentPort;
  if (port === null) throw new InvariantError('sys-worker runs as a worker thread only');
  const post = (message: WorkerMessage): void => {
    port.postMessage(message);
  };
  const handlers = openHandlers(post);
  port.on('message', (request: CallRequest) => {
    const { id, call, args } = request;
    try {
      const handler = handlers[call] as (...args: readonly unknown[]) => unknown;
      post({ type: 'result', id, value: handler(...args) });
    } catch (error) {
      post({ type: 'error', id, error: toCallError(error) });
    }
  });
  post({ type: 'ready' });
}

function openHandlers(post: (message: WorkerMessage) => void): KernelCalls {
  const thread = new NetnsThread();
  const spawner = new ProcessSpawner((pid, exitCode) => {
    post({ type: 'exit', pid, exitCode });
  });
  const netlink = new LinuxNetlink(thread);
  const nftables = new LinuxNftables(thread);
  const userNamespaces = new UserNamespaces();
  return {
    ...mountHandlers,
    ...fileHandlers,
    ...socketHandlers,
    ...netlink.handlers,
    ...nftables.handlers,
    ...userNamespaces.handlers,
    'mounts.overlay': (request) => {
      const { idMap } = request;
      mountOverlay(request, idMap === undefined ? {} : { usernsFd: userNamespaces.fdOf(idMap) });
    },
    'spawner.spawn': (options) => spawner['spawner.spawn'](options),
    'spawner.reap': () => {
      spawner['spawner.reap']();
    },
    'namespaces.createNetns': (path) => {
      thread.createNetns(path);
    },
    'namespaces.dropNetns': (path) => {
      netlink.drop(path);
      nftables.drop(path);
      dropNetns(path);
    },
    'namespaces.hasNetns': hasNetns,
    'namespaces.setSysctls': (values, netns) => {
      thread.inside(netns, () => {
        writeSysctls(values);
      });
    },
    'namespaces.pinCrunMountNamespace': pinCrunMountNamespace,
    'namespaces.unpinMountNamespace': unpinMountNamespace,
    close: () => {
      netlink.close();
      nftables.close();
      userNamespaces.close();
      thread.close();
    },
  };
}

function toCallError(error: unknown): CallError {
  return {
    kind: kindOf(error),
    message: describeError(error),
    detail: error instanceof HatobaError ? error.detail : {},
  };
}

startWorker();
