import { HatobaError, isKind, wrapError } from '../../common/errors.js';
import { errnoError, errnoName } from '../errno.js';
import { libc, openPath } from '../libc.js';
import type { NetnsThread } from '../netns.js';
import { NetnsCache } from '../netns-cache.js';
import type { LinkInfo, NetlinkOp } from '../ports.js';
import type { CallHandlers } from '../protocol.js';
import * as c from './constants.js';
import { decodeAddress, decodeFdb, decodeLink, decodeNeighbour, decodeRoute } from './decode.js';
import { describeOp } from './describe.js';
import { encodeOp, linkHeader, type Surroundings } from './encode.js';
import { reconcileExisting } from './existing.js';
import type { MessageWriter } from './message.js';
import { NetlinkMonitor } from './monitor.js';
import { NetlinkSocket, type Outcome } from './socket.js';

const MAX_OPEN_NAMESPACES = 16;

/** Which errnos mean that what an op asks for is already so. */
const ALREADY_SO: Readonly<Record<NetlinkOp['op'], readonly string[]>> = {
  'link-add': [],
  'link-set': [],
  'link-del': ['ENODEV'],
  'bridge-port': [],
  'address-add': ['EEXIST'],
  'address-del': ['EADDRNOTAVAIL', 'ENODEV'],
  'route-add': ['EEXIST'],
  'route-del': ['ESRCH', 'ENODEV'],
  'neigh-add': ['EEXIST'],
  'neigh-del': ['ENOENT', 'ENODEV'],
  'fdb-add': ['EEXIST'],
  'fdb-del': ['ENOENT', 'ENODEV'],
};

type NetlinkCalls =
  | 'netlink.apply'
  | 'netlink.links'
  | 'netlink.addresses'
  | 'netlink.neighbours'
  | 'netlink.fdb'
  | 'netlink.routes'
  | 'netlink.hasChanged';

/** The Netlink port in the worker thread: one socket per namespace, kept open. */
export class LinuxNetlink {
  readonly #sockets: NetnsCache<NetlinkSocket>;
  readonly #monitors: NetnsCache<NetlinkMonitor>;

  constructor(thread: NetnsThread) {
    this.#monitors = new NetnsCache(thread, MAX_OPEN_NAMESPACES, {
      open: () => new NetlinkMonitor(),
      close: (monitor) => {
        monitor.close();
      },
    });
    this.#sockets = new NetnsCache(thread, MAX_OPEN_NAMESPACES, {
      open: () => new NetlinkSocket(),
      close: (socket) => {
        socket.close();
      },
    });
  }

  readonly handlers: CallHandlers<NetlinkCalls> = {
    'netlink.apply': (ops, netns) => {
      const change = new Change(this.#sockets.get(netns), netns, (path) => this.#sockets.get(path));
      change.apply(ops);
    },
    'netlink.links': (netns) => this.#links(netns),
    'netlink.addresses': (netns) =>
      this.#dump(c.RTM_GETADDR, familyHeader(8, c.AF_INET), 'addresses', netns).flatMap(
        decodeAddress,
      ),
    'netlink.neighbours': (netns) =>
      this.#dump(c.RTM_GETNEIGH, familyHeader(12, c.AF_INET), 'neighbours', netns).flatMap(
        decodeNeighbour,
      ),
    'netlink.fdb': (netns) =>
      this.#dump(
        c.RTM_GETNEIGH,
        familyHeader(12, c.AF_BRIDGE),
        'forwarding entries',
        netns,
      ).flatMap(decodeFdb),
    'netlink.routes': (netns) =>
      this.#dump(c.RTM_GETROUTE, familyHeader(12, c.AF_INET), 'routes', netns).flatMap(decodeRoute),
    'netlink.hasChanged': (netns) => this.#monitors.get(netns).hasChanged(),
  };

  /** Closes what is open in a namespace about to end. */
  drop(path: string): void {
    this.#sockets.drop(path);
    this.#monitors.drop(path);
  }

  close(): void {
    this.#sockets.close();
    this.#monitors.close();
  }

  #links(netns?: string): LinkInfo[] {
    return this.#dump(c.RTM_GETLINK, linkHeader(), 'links', netns).map((message) => {
      const { peerNetnsId: _, ...link } = decodeLink(message);
      return link;
    });
  }

  #dump(
    type: number,
    fixed: Buffer,
    what: string,
    netns?: string,
  ): ReturnType<NetlinkSocket['dump']> {
    return this.#sockets.get(netns).dump(type, fixed, `listing ${what}${inNamespace(netns)}`);
  }
}

interface Queued {
  op: NetlinkOp;
  message: MessageWriter;
}

/**
 * One apply(): ops go into one message until one needs the index of a link that the message itself
 * makes or renames; then what is queued is sent first.
 */
class Change {
  readonly #socket: NetlinkSocket;
  readonly #netns: string | undefined;
  readonly #socketOf: (netns: string) => NetlinkSocket;
  readonly #queue: Queued[] = [];
  /** Names that mean another link, or none, once the queue is sent. */
  readonly #unsettled = new Set<string>();
  readonly #indexes = new Map<string, number>();
  readonly #openFds: number[] = [];
  /** Of the first op that could not be done. */
  #failure: HatobaError | undefined;

  constructor(
    socket: NetlinkSocket,
    netns: string | undefined,
    socketOf: (netns: string) => NetlinkSocket,
  ) {
    this.#socket = socket;
    this.#netns = netns;
    this.#socketOf = socketOf;
  }

  apply(ops: readonly NetlinkOp[]): void {
    try {
      for (const op of ops) this.#enqueue(op);
      this.#flush();
    } finally {
      for (const fd of this.#openFds.splice(0)) libc.close(fd);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #enqueue(op: NetlinkOp): void {
    const around: Surroundings = {
      linkIndex: (name) => this.#linkIndex(name),
      netnsFd: (path) => this.#netnsFd(path),
    };
    try {
      this.#queue.push({ op, message: encodeOp(op, around) });
    } catch (error) {
      // The error of what comes before it goes first.
      this.#flush();
      if (isKind(error, 'not-found') && this.#isAlreadySo(op, 'ENODEV')) return;
      this.#failure ??= wrapError(error, this.#describe(op));
      return;
    }
    for (const name of namesChangedBy(op)) {
      this.#unsettled.add(name);
      this.#indexes.delete(name);
    }
  }

  #flush(): void {
    const queue = this.#queue.splice(0);
    this.#unsettled.clear();
    if (queue.length === 0) return;
    const outcomes = this.#socket.execute(queue.map(({ message }) => message));
    for (const [index, { op }] of queue.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined || outcome.errno === 0) continue;
      try {
        this.#settle(op, outcome);
      } catch (error) {
        this.#failure ??=
          error instanceof HatobaError ? error : wrapError(error, this.#describe(op));
      }
    }
  }

  /** @throws {HatobaError} unless the failure means that all is as wanted */
  #settle(op: NetlinkOp, { errno, reason }: Outcome): void {
    const name = errnoName(errno);
    if (this.#isAlreadySo(op, name)) return;
    if (op.op === 'link-add' && name === 'EEXIST') {
      const netnsFd = (path: string): number => this.#netnsFd(path);
      reconcileExisting(op, this.#socket, { netnsFd, describe: this.#describe(op), reason });
      return;
    }
    throw errnoError(this.#describe(op), errno, reason);
  }

  #isAlreadySo(op: NetlinkOp, errno: string): boolean {
    if (ALREADY_SO[op.op].includes(errno)) return true;
    if (op.op !== 'link-set' || errno !== 'ENODEV') return false;
    // Moved or renamed by an earlier call.
    if (op.netns === undefined && op.newName === undefined) return false;
    const socket = op.netns === undefined ? this.#socket : this.#socketOf(op.netns);
    return socket.linkIndex(op.newName ?? op.name) !== undefined;
  }

  #linkIndex(name: string): number {
    if (this.#unsettled.has(name)) this.#flush();
    const index = this.#indexes.get(name) ?? this.#socket.linkIndex(name);
    if (index === undefined) {
      throw new HatobaError('not-found', `there is no link ${name}${inNamespace(this.#netns)}`, {
        detail: { errno: 'ENODEV' },
      });
    }
    this.#indexes.set(name, index);
    return index;
  }

  #netnsFd(path: string): number {
    const fd = openPath(path, 'looking for a network namespace');
    this.#openFds.push(fd);
    return fd;
  }

  #describe(op: NetlinkOp): string {
    return `${describeOp(op)}${inNamespace(this.#netns)}`;
  }
}

function namesChangedBy(op: NetlinkOp): string[] {
  if (op.op === 'link-add' || op.op === 'link-del') return [op.name];
  if (op.op !== 'link-set' || (op.newName === undefined && op.netns === undefined)) return [];
  return [op.name, op.newName ?? op.name];
}

function inNamespace(netns: string | undefined): string {
  return netns === undefined ? '' : ` in ${netns}`;
}

/** A fixed part that names a family only, as the kernel wants it in a strict dump. */
function familyHeader(bytes: number, family: number): Buffer {
  const header = Buffer.alloc(bytes);
  header.writeUInt8(family);
  return header;
}
