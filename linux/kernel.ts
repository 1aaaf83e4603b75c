import { HatobaError } from '../common/errors.js';
import { ConntrackClient } from './conntrack/client.js';
import type {
  Files,
  Kernel,
  Mounts,
  Namespaces,
  Netlink,
  Nftables,
  Sockets,
  SpawnedProcess,
  SpawnOptions,
  Spawner,
} from './ports.js';
import { toSockets } from './sockets.js';
import { ensureUserNamespace } from './user-namespaces.js';
import { WorkerClient } from './worker-client.js';

/** How to open the kernel. */
export interface KernelOptions {
  /**
   * Told once if the worker thread dies. Every call fails from then on with `unavailable`, so the
   * process should end: children would no longer be collected.
   */
  onFailure: (error: HatobaError) => void;
}

/**
 * Starts the worker thread that makes the system calls; ending the kernel ends the thread, while
 * namespaces, mounts and processes stay.
 * @throws {HatobaError} unavailable, when the thread cannot start
 */
export async function openKernel(options: KernelOptions): Promise<Kernel> {
  return await LinuxKernel.open(options);
}

class LinuxKernel implements Kernel {
  readonly netlink: Netlink;
  readonly namespaces: Namespaces;
  readonly mounts: Mounts;
  readonly spawner: Spawner;
  readonly nftables: Nftables;
  readonly conntrack: ConntrackClient;
  readonly files: Files;
  readonly sockets: Sockets;
  readonly #client: WorkerClient;
  readonly #children: Children;

  private constructor(client: WorkerClient, children: Children, conntrack: ConntrackClient) {
    this.#client = client;
    this.conntrack = conntrack;
    this.#children = children;
    this.netlink = toNetlink(client);
    this.namespaces = toNamespaces(client, conntrack);
    this.spawner = { spawn: (request) => children.spawn(client, request) };
    this.mounts = toMounts(client, this.spawner);
    this.nftables = {
      run: (script, netns) => client.call('nftables.run', script, netns),
      query: (command, netns, detail) => client.call('nftables.query', command, netns, detail),
      countedPackets: (counter, netns) => client.call('nftables.countedPackets', counter, netns),
      isChangedByOthers: (netns) => client.call('nftables.isChangedByOthers', netns),
    };
    this.sockets = toSockets(client);
    this.files = {
      mknod: (path, mode, major, minor) => client.call('files.mknod', path, mode, major, minor),
      setXattr: (path, name, value) => client.call('files.setXattr', path, name, value),
      getXattr: (path, name) => client.call('files.getXattr', path, name),
      syncFilesystem: (path) => syncFilesystem(this.spawner, path),
    };
  }

  static async open(options: KernelOptions): Promise<LinuxKernel> {
    const children = new Children();
    const client = await WorkerClient.start({
      onExit: (pid, exitCode) => {
        children.settle(pid, exitCode);
      },
      onFailure: (error) => {
        children.end(error);
        options.onFailure(error);
      },
    });
    children.watch(client);
    return new LinuxKernel(client, children, new ConntrackClient(options.onFailure));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#children.end(new HatobaError('cancelled', 'the kernel seam was closed'));
    await this.conntrack[Symbol.asyncDispose]();
    await this.#client.close();
  }
}

/**
 * The processes spawned and not yet collected.
 * 1. Each `exited` settles exactly once, also if the exit is told before spawn() has returned.
 */
class Children {
  readonly #running = new Map<
    number,
    { resolve: (c: number) => void; reject: (e: Error) => void }
  >();
  /** Exits of processes that spawn() has not registered yet. */
  readonly #early = new Map<number, number>();
  #starting = 0;
  #stopWatching: () => void = () => undefined;

  /**
   * Collects children whenever one ends. The signal reaches the main thread only; a descriptor that
   * tells of the exit (pidfd) cannot be waited for in a worker without blocking it.
   */
  watch(client: WorkerClient): void {
    const onSignal = (): void => {
      if (this.#running.size === 0 && this.#starting === 0) return;
      // It fails only with the worker, which is reported where that happens.
      client.call('spawner.reap').catch(() => undefined);
    };
    process.on('SIGCHLD', onSignal);
    this.#stopWatching = () => process.off('SIGCHLD', onSignal);
  }

  async spawn(client: WorkerClient, options: SpawnOptions): Promise<SpawnedProcess> {
    this.#starting += 1;
    try {
      const { pid, pipes } = await client.call('spawner.spawn', options);
      return { pid, pipes, exited: this.#register(pid) };
    } finally {
      this.#starting -= 1;
    }
  }

  settle(pid: number, exitCode: number): void {
    const child = this.#running.get(pid);
    if (child === undefined) this.#early.set(pid, exitCode);
    this.#running.delete(pid);
    child?.resolve(exitCode);
  }

  /** No exit will be told any more. */
  end(error: HatobaError): void {
    this.#stopWatching();
    for (const { reject } of this.#running.values()) reject(error);
    this.#running.clear();
  }

  #register(pid: number): Promise<number> {
    const early = this.#early.get(pid);
    this.#early.delete(pid);
    if (early !== undefined) return Promise.resolve(early);
    const exited = new Promise<number>((resolve, reject) => {
      this.#running.set(pid, { resolve, reject });
    });
    // A caller that does not care for the exit must not be told of the worker's end by a crash.
    exited.catch(() => undefined);
    return exited;
  }
}

/** In a process of its own: in the worker thread every other call would wait for the disk. */
async function syncFilesystem(spawner: Spawner, path: string): Promise<void> {
  const args = ['--file-system', '--', path];
  const { exited } = await spawner.spawn({ file: '/usr/bin/sync', args, env: {} });
  const exitCode = await exited;
  if (exitCode === 0) return;
  throw new HatobaError(
    'internal',
    `writing the file system of ${path} to disk: sync ended with ${exitCode}`,
  );
}

function toNetlink(client: WorkerClient): Netlink {
  return {
    apply: (ops, netns) => client.call('netlink.apply', ops, netns),
    links: (netns) => client.call('netlink.links', netns),
    addresses: (netns) => client.call('netlink.addresses', netns),
    neighbours: (netns) => client.call('netlink.neighbours', netns),
    fdb: (netns) => client.call('netlink.fdb', netns),
    routes: (netns) => client.call('netlink.routes', netns),
    hasChanged: (netns) => client.call('netlink.hasChanged', netns),
  };
}

function toNamespaces(client: WorkerClient, conntrack: ConntrackClient): Namespaces {
  return {
    createNetns: (path) => client.call('namespaces.createNetns', path),
    dropNetns: (path) => {
      const drop = (): Promise<void> => client.call('namespaces.dropNetns', path);
      const closed = conntrack.drop(path);
      return closed === undefined ? drop() : closed.then(drop); // calls are made in their order
    },
    hasNetns: (path) => client.call('namespaces.hasNetns', path),
    setSysctls: (values, netns) => client.call('namespaces.setSysctls', values, netns),
    sysctls: (names, netns) => client.call('namespaces.sysctls', names, netns),
    pinCrunMountNamespace: (path, sharedPaths = []) =>
      client.call('namespaces.pinCrunMountNamespace', path, sharedPaths),
    unpinMountNamespace: (path) => client.call('namespaces.unpinMountNamespace', path),
  };
}

function toMounts(client: WorkerClient, spawner: Spawner): Mounts {
  return {
    overlay: async (mount) => {
      if (mount.idMap !== undefined) await ensureUserNamespace(mount.idMap, { client, spawner });
      await client.call('mounts.overlay', mount);
    },
    bind: (source, target, options = {}) => client.call('mounts.bind', source, target, options),
    tmpfs: (target, options = {}) => client.call('mounts.tmpfs', target, options),
    makeShared: (path) => client.call('mounts.makeShared', path),
    unmount: (target) => client.call('mounts.unmount', target),
    list: (prefix) => client.call('mounts.list', prefix),
  };
}
