import { serveCalls } from './call-server.js';
import { fileHandlers } from './files.js';
import { pinCrunMountNamespace, unpinMountNamespace } from './mount-namespace.js';
import { mountHandlers } from './mount.js';
import { LinuxNetlink } from './netlink/netlink.js';
import { LinuxNftables } from './nftables.js';
import { NetnsThread, dropNetns, hasNetns, readSysctls, writeSysctls } from './netns.js';
import type { KernelCalls, WorkerMessage } from './protocol.js';
import { mountOverlay } from './overlay.js';
import { ProcessSpawner } from './spawn.js';
import { UserNamespaces } from './user-namespaces.js';
import { socketHandlers } from './unix-socket.js';

/** All calls but those of a thread of their own. */
type SystemCalls = Omit<KernelCalls, `conntrack.${string}`>;

/**
 * The worker thread that makes Hatoba's system calls, one at a time and each to its end: many of
 * them block for a moment, and entering a namespace concerns the whole thread.
 */
function openHandlers(post: (message: WorkerMessage) => void): SystemCalls {
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
    'namespaces.sysctls': (names, netns) => thread.inside(netns, () => readSysctls(names)),
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

serveCalls(openHandlers);
