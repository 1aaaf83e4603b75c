import type { ErrorKind } from '../common/errors.js';
import type {
  AddressInfo,
  FdbInfo,
  FlowFilter,
  FlowInfo,
  IdMap,
  LinkInfo,
  ListingDetail,
  NftCounter,
  NeighbourInfo,
  NetlinkOp,
  OverlayMount,
  RouteInfo,
  SpawnOptions,
} from './ports.js';

/**
 * What the main thread may ask of the worker thread, by name. Every call is synchronous over there:
 * no call ever awaits, so a namespace entered within one is left before the next one starts.
 */
export interface KernelCalls {
  'netlink.apply': (ops: readonly NetlinkOp[], netns?: string) => void;
  'netlink.links': (netns?: string) => LinkInfo[];
  'netlink.addresses': (netns?: string) => AddressInfo[];
  'netlink.neighbours': (netns?: string) => NeighbourInfo[];
  'netlink.fdb': (netns?: string) => FdbInfo[];
  'netlink.routes': (netns?: string) => RouteInfo[];
  'netlink.hasChanged': (netns?: string) => boolean;
  'namespaces.createNetns': (path: string) => void;
  'namespaces.dropNetns': (path: string) => void;
  'namespaces.hasNetns': (path: string) => boolean;
  'namespaces.setSysctls': (values: Readonly<Record<string, string>>, netns?: string) => void;
  'namespaces.sysctls': (names: readonly string[], netns?: string) => Record<string, string>;
  'namespaces.pinCrunMountNamespace': (path: string, sharedPaths: readonly string[]) => void;
  'namespaces.unpinMountNamespace': (path: string) => void;
  /** Fails unless its user namespace, if it has one, is kept. */
  'mounts.overlay': (mount: OverlayMount) => void;
  'usernamespaces.has': (idMap: IdMap) => boolean;
  /** Maps the ids of the new user namespace that a process is in, and keeps it. */
  'usernamespaces.keep': (pid: number, idMap: IdMap) => void;
  'mounts.bind': (
    source: string,
    target: string,
    options: { readOnly?: boolean; recursive?: boolean },
  ) => void;
  'mounts.tmpfs': (target: string, options: { sizeBytes?: number; mode?: number }) => void;
  'mounts.makeShared': (path: string) => void;
  'mounts.unmount': (target: string) => void;
  'mounts.list': (prefix: string) => string[];
  'spawner.spawn': (options: SpawnOptions) => { pid: number; pipes: ReadonlyMap<number, number> };
  /** Collects the children that have exited; their exits go out as messages of their own. */
  'spawner.reap': () => void;
  'nftables.run': (script: string, netns?: string) => void;
  'nftables.query': (command: string, netns?: string, detail?: ListingDetail) => unknown[];
  'nftables.countedPackets': (counter: NftCounter, netns?: string) => number;
  'nftables.isChangedByOthers': (netns?: string) => boolean;
  'files.mknod': (path: string, mode: number, major: number, minor: number) => void;
  'files.setXattr': (path: string, name: string, value: Uint8Array) => void;
  'files.getXattr': (path: string, name: string) => Uint8Array | undefined;
  /** A connection to a SOCK_SEQPACKET socket. */
  'sockets.connect': (path: string) => number;
  'sockets.listen': (path: string) => number;
  /** Undefined while there is none. */
  'sockets.accept': (listener: number) => number | undefined;
  /** The descriptor sent with the first message of a connection. */
  'sockets.receiveFd': (connection: number) => number;
  /** Two ends of a connection: one to be replaced by another descriptor, and its peer. */
  'sockets.openCarrier': () => readonly [carrier: number, peer: number];
  /** Puts `fd` in the place of a carrier; the carrier's number is all that remains. */
  'sockets.moveOnto': (fd: number, carrier: readonly [number, number]) => void;
  'sockets.duplicate': (fd: number) => number;
  'sockets.close': (fd: number) => void;
  'sockets.resize': (terminal: number | string, rows: number, columns: number) => void;
  'conntrack.flows': (filter: FlowFilter, netns?: string) => FlowInfo[];
  'conntrack.countFlows': (filter: FlowFilter, netns?: string) => ReadonlyMap<string, number>;
  'conntrack.removeFlows': (filter: FlowFilter, netns?: string) => number;
  /** Closes what is open in a namespace about to end. */
  'conntrack.drop': (path: string) => void;
  /** Closes what the worker holds open, before it is ended. */
  close: () => void;
}

export type KernelCall = keyof KernelCalls;

/** The handlers of a part of the calls, as the worker's files offer them. */
export type CallHandlers<K extends KernelCall> = Pick<KernelCalls, K>;

export interface CallRequest {
  id: number;
  call: KernelCall;
  args: readonly unknown[];
}

/** An error as it crosses the thread boundary. */
export interface CallError {
  kind: ErrorKind;
  message: string;
  detail: Readonly<Record<string, unknown>>;
}

export type WorkerMessage =
  | { type: 'ready' }
  | { type: 'result'; id: number; value: unknown }
  | { type: 'error'; id: number; error: CallError }
  | { type: 'exit'; pid: number; exitCode: number };
