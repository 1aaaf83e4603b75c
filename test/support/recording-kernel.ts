import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HatobaError } from '../../common/errors.js';
import type {
  Conntrack,
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
} from '../../linux/ports.js';
import { FakeConsole, type FakePeer } from './fake-sockets.js';
import { isMeant } from './fake-flows.js';
import { FakeNetwork, toLinkInfo } from './recording-network.js';

/** One call as it was made: `call` is "netlink.apply", `args` what it was given. */
export interface RecordedCall {
  call: string;
  args: readonly unknown[];
}

/** How a process that a test spawns behaves. */
export interface SpawnScript {
  /** What it ends with, at once or when the promise settles; 0 unless given. */
  exitCode?: number | Promise<number>;
  /** What it has written, by descriptor; readable from the pipes that were asked for. */
  output?: Readonly<Record<number, string>>;
}

export interface FakeMount {
  target: string;
  type: 'overlay' | 'bind' | 'tmpfs' | 'shared';
  source?: string;
}

const OWN = '';

/**
 * The kernel in memory.
 * 1. `calls` holds every call in the order made, also those that failed.
 * 2. Calls change the state that later calls see: links, addresses, mounts, namespaces.
 * 3. Nothing outside this object changes, but for the pipes of spawned processes, which are real.
 */
export class RecordingKernel implements Kernel {
  readonly calls: RecordedCall[] = [];
  /** Namespaces by path; that of the process itself under "". */
  readonly networks = new Map<string, FakeNetwork>();
  readonly mountTable: FakeMount[] = [];
  readonly nodes = new Map<string, { mode: number; major: number; minor: number }>();
  readonly xattrs = new Map<string, Uint8Array>();
  readonly spawned: SpawnOptions[] = [];
  /** Who answers at the path of a packet socket; put there by the test. */
  readonly peers = new Map<string, FakePeer>();
  /** Console sockets by path, as long as they are listened on. */
  readonly consoles = new Map<string, FakeConsole>();
  /** Every nft script run, in order. */
  readonly nftScripts: { script: string; netns: string | undefined }[] = [];
  /** What a spawned process does; changed by the test. */
  onSpawn: (options: SpawnOptions) => SpawnScript = () => ({});
  /** What an nft query answers; changed by the test. */
  onNftQuery: (command: string, netns: string | undefined) => unknown[] = () => [];
  readonly #failures = new Map<string, Error[]>();
  readonly #openFds: number[] = [];
  #lastPid = 1000;

  constructor() {
    this.networks.set(OWN, this.#newNetwork());
  }

  /** Makes the next call of this name ("mounts.overlay") fail. */
  failNext(call: string, error: Error): void {
    this.#failures.set(call, [...(this.#failures.get(call) ?? []), error]);
  }

  /** The namespace of `path`, or the process's own. @throws {HatobaError} not-found */
  network(netns: string = OWN): FakeNetwork {
    const network = this.networks.get(netns);
    if (network === undefined) throw new HatobaError('not-found', `network namespace ${netns}`);
    return network;
  }

  /** The arguments of every call of this name. */
  argsOf(call: string): (readonly unknown[])[] {
    return this.calls.filter((c) => c.call === call).map((c) => c.args);
  }

  readonly netlink: Netlink = {
    apply: (ops, netns) =>
      this.#record('netlink.apply', [ops, netns], () => {
        const network = this.network(netns);
        const failures = ops.flatMap((op) => failureOf(() => network.apply(op)));
        if (failures[0] !== undefined) throw failures[0];
      }),
    links: (netns) =>
      this.#record('netlink.links', [netns], () => this.network(netns).links.map(toLinkInfo)),
    addresses: (netns) =>
      this.#record('netlink.addresses', [netns], () => [...this.network(netns).addresses]),
    neighbours: (netns) =>
      this.#record('netlink.neighbours', [netns], () => [...this.network(netns).neighbours]),
    fdb: (netns) => this.#record('netlink.fdb', [netns], () => [...this.network(netns).fdb]),
    routes: (netns) =>
      this.#record('netlink.routes', [netns], () => [...this.network(netns).routes]),
    hasChanged: (netns) =>
      this.#record('netlink.hasChanged', [netns], () => {
        this.network(netns);
        return true;
      }),
  };

  readonly namespaces: Namespaces = {
    createNetns: (path) =>
      this.#record('namespaces.createNetns', [path], () => {
        if (!this.networks.has(path)) this.networks.set(path, this.#newNetwork());
      }),
    dropNetns: (path) =>
      this.#record('namespaces.dropNetns', [path], () => {
        for (const link of [...(this.networks.get(path)?.links ?? [])]) {
          this.networks.get(path)?.removeLink(link.name);
        }
        this.networks.delete(path);
      }),
    hasNetns: (path) => this.#record('namespaces.hasNetns', [path], () => this.networks.has(path)),
    pinCrunMountNamespace: (path, sharedPaths) =>
      this.#record('namespaces.pinCrunMountNamespace', [path, sharedPaths], () => undefined),
    unpinMountNamespace: (path) =>
      this.#record('namespaces.unpinMountNamespace', [path], () => undefined),
    setSysctls: (values, netns) =>
      this.#record('namespaces.setSysctls', [values, netns], () => {
        const { sysctls } = this.network(netns);
        for (const [name, value] of Object.entries(values)) sysctls.set(name, value);
      }),
    sysctls: (names, netns) =>
      this.#record('namespaces.sysctls', [names, netns], () => {
        const { sysctls } = this.network(netns);
        return Object.fromEntries([...sysctls].filter(([name]) => names.includes(name)));
      }),
  };

  readonly mounts: Mounts = {
    overlay: (mount) =>
      this.#record('mounts.overlay', [mount], () => {
        this.#mount({ target: mount.target, type: 'overlay', source: mount.upperDir });
      }),
    bind: (source, target, options) =>
      this.#record('mounts.bind', [source, target, options], () => {
        this.#mount({ target, type: 'bind', source });
      }),
    tmpfs: (target, options) =>
      this.#record('mounts.tmpfs', [target, options], () => {
        this.#mount({ target, type: 'tmpfs' });
      }),
    makeShared: (path) =>
      this.#record('mounts.makeShared', [path], () => {
        if (!this.mountTable.some((m) => m.target === path)) {
          this.mountTable.push({ target: path, type: 'shared' });
        }
      }),
    unmount: (target) =>
      this.#record('mounts.unmount', [target], () => {
        const others = this.mountTable.filter((m) => m.target !== target);
        this.mountTable.splice(0, this.mountTable.length, ...others);
      }),
    list: (prefix) =>
      this.#record('mounts.list', [prefix], () =>
        [...new Set(this.mountTable.map((m) => m.target))]
          .filter((t) => t === prefix || t.startsWith(`${prefix}/`))
          .sort((a, b) => a.split('/').length - b.split('/').length || (a < b ? -1 : 1)),
      ),
  };

  readonly spawner: Spawner = {
    spawn: (options) => this.#record('spawner.spawn', [options], () => this.#spawn(options)),
  };

  readonly nftables: Nftables = {
    run: (script, netns) =>
      this.#record('nftables.run', [script, netns], () => {
        this.network(netns);
        this.nftScripts.push({ script, netns });
      }),
    query: (command, netns) =>
      this.#record('nftables.query', [command, netns], () => {
        this.network(netns);
        return this.onNftQuery(command, netns);
      }),
    countedPackets: (counter, netns) =>
      this.#record('nftables.countedPackets', [counter, netns], () => {
        this.network(netns);
        return 0;
      }),
    isChangedByOthers: (netns) =>
      this.#record('nftables.isChangedByOthers', [netns], () => {
        this.network(netns);
        return true;
      }),
  };

  readonly conntrack: Conntrack = {
    flows: (filter, netns) =>
      this.#record('conntrack.flows', [filter, netns], () =>
        this.network(netns).flows.filter((flow) => isMeant(flow, filter)),
      ),
    countFlows: (filter, netns) =>
      this.#record('conntrack.countFlows', [filter, netns], () => {
        const counts = new Map<string, number>();
        for (const flow of this.network(netns).flows) {
          if (!isMeant(flow, filter)) continue;
          counts.set(flow.reply.source, (counts.get(flow.reply.source) ?? 0) + 1);
        }
        return counts;
      }),
    removeFlows: (filter, netns) =>
      this.#record('conntrack.removeFlows', [filter, netns], () => {
        const network = this.network(netns);
        const before = network.flows.length;
        network.flows = network.flows.filter((flow) => !isMeant(flow, filter));
        return before - network.flows.length;
      }),
  };

  readonly files: Files = {
    mknod: (path, mode, major, minor) =>
      this.#record('files.mknod', [path, mode, major, minor], () => {
        this.nodes.set(path, { mode, major, minor });
      }),
    setXattr: (path, name, value) =>
      this.#record('files.setXattr', [path, name, value], () => {
        this.xattrs.set(`${path}\0${name}`, value);
      }),
    getXattr: (path, name) =>
      this.#record('files.getXattr', [path, name], () => this.xattrs.get(`${path}\0${name}`)),
    syncFilesystem: (path) => this.#record('files.syncFilesystem', [path], () => undefined),
  };

  readonly sockets: Sockets = {
    connectPackets: (path, packetBytes) =>
      this.#record('sockets.connectPackets', [path, packetBytes], () => {
        const peer = this.peers.get(path);
        if (peer !== undefined) return peer.connect(packetBytes);
        throw new HatobaError('not-found', `connecting to ${path}: ENOENT`);
      }),
    listenForTerminal: (path) =>
      this.#record('sockets.listenForTerminal', [path], () => {
        const console = new FakeConsole(() => this.consoles.delete(path));
        this.consoles.set(path, console);
        return console;
      }),
    resizeTerminal: (path, size) =>
      this.#record('sockets.resizeTerminal', [path, size], () => undefined),
  };

  [Symbol.asyncDispose](): Promise<void> {
    for (const fd of this.#openFds.splice(0)) closeSync(fd);
    return Promise.resolve();
  }

  /** Every call takes a turn of the event loop, as the real ones do. */
  async #record<T>(call: string, args: readonly unknown[], act: () => T): Promise<T> {
    this.calls.push({ call, args });
    await Promise.resolve();
    const failure = this.#failures.get(call)?.shift();
    if (failure !== undefined) throw failure;
    return act();
  }

  #newNetwork(): FakeNetwork {
    return new FakeNetwork((path) => this.network(path));
  }

  #mount(mount: FakeMount): void {
    const there = this.mountTable.findLast((m) => m.target === mount.target);
    if (there?.type === mount.type && there.source === mount.source) return;
    // A bind mount covers what is there, the others refuse to.
    if (there !== undefined && mount.type !== 'bind') {
      throw new HatobaError('already-exists', `${mount.target}: ${there.type} is mounted there`);
    }
    this.mountTable.push(mount);
  }

  #spawn(options: SpawnOptions): SpawnedProcess {
    this.spawned.push(options);
    const script = this.onSpawn(options);
    const pipes = new Map<number, number>();
    for (const want of options.fds ?? []) {
      if (!('pipe' in want)) continue;
      const [readEnd, writeEnd] = openPipe();
      if (want.pipe === 'write') {
        writeSync(writeEnd, script.output?.[want.fd] ?? '');
        closeSync(writeEnd);
        pipes.set(want.fd, readEnd);
      } else {
        // The child's end stays open, so that writing to it is no error.
        this.#openFds.push(readEnd);
        pipes.set(want.fd, writeEnd);
      }
    }
    const exited = Promise.resolve(script.exitCode ?? 0);
    exited.catch(() => undefined);
    return { pid: ++this.#lastPid, pipes, exited };
  }
}

/** The error of what fails, alone in a list. */
function failureOf(act: () => void): Error[] {
  try {
    act();
    return [];
  } catch (error) {
    if (error instanceof Error) return [error];
    throw error;
  }
}

/** A real pipe, which Node itself cannot make: a named one whose name is taken away again. */
function openPipe(): [readEnd: number, writeEnd: number] {
  const folder = mkdtempSync(join(tmpdir(), 'ht-pipe-'));
  try {
    const path = join(folder, 'pipe');
    execFileSync('/usr/bin/mkfifo', [path]);
    const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return [readEnd, openSync(path, constants.O_WRONLY)];
  } finally {
    rmSync(folder, { recursive: true });
  }
}
