/**
 * linux/ is the one seam to the kernel: typed ports, each with the real implementation behind one
 * worker thread (koffi) and a recording fake in test/support/. Nothing here knows of containers or
 * clusters. Every operation is idempotent: "already so" is success, for adding and for removing.
 * A `netns` is the path of a namespace file ("/run/netns/x"); undefined is the caller's own.
 *
 * All ports throw HatobaError whose message names the operation, its target and the errno.
 */
import type { Duplex } from 'node:stream';

/**
 * One network change; see rtnetlink(7). Applied in order, several in one message where possible.
 * "add" of a route, neighbour or forwarding entry puts it in place of another one for the same
 * destination. "link-add" of a link that is there sets its address and MTU; another link under that
 * name is `already-exists`, and a veth whose peer is in another namespace (one that is just ending,
 * for example) is `conflict`.
 */
export type NetlinkOp =
  | { op: 'link-add'; kind: 'bridge'; name: string; mac?: string; mtuBytes?: number }
  | {
      op: 'link-add';
      kind: 'vxlan';
      name: string;
      vni: number;
      localAddress: string;
      port: number;
      mtuBytes?: number;
    }
  | {
      op: 'link-add';
      kind: 'veth';
      name: string;
      mac?: string;
      mtuBytes?: number;
      peer: { name: string; netns: string; mac?: string };
    }
  | {
      op: 'link-set';
      name: string;
      up?: boolean;
      master?: string | null;
      mtuBytes?: number;
      mac?: string;
      newName?: string;
      netns?: string;
    }
  | { op: 'link-del'; name: string }
  | ({ op: 'bridge-port'; name: string } & Partial<BridgePort>)
  | { op: 'address-add' | 'address-del'; link: string; cidr: string }
  | {
      op: 'route-add' | 'route-del';
      /** CIDR or "default" */
      destination: string;
      via?: string;
      /** The address that this host sends from by it. */
      source?: string;
      link?: string;
      onlink?: boolean;
      table?: number;
    }
  | { op: 'neigh-add' | 'neigh-del'; link: string; address: string; mac: string }
  | {
      op: 'fdb-add' | 'fdb-del';
      link: string;
      mac: string;
      /** master: the bridge's table; self: the VXLAN device's, which needs `destination`. */
      where: 'master' | 'self';
      destination?: string;
    };

/** How a port of a bridge behaves. */
export interface BridgePort {
  learning: boolean;
  flood: boolean;
  mcastFlood: boolean;
  bcastFlood: boolean;
  /** The bridge answers ARP for who is behind this port, and sends no questions out there. */
  neighSuppress: boolean;
  /** The bridge answers ARP questions that come in by this port, where it knows the answer. */
  proxyArp: boolean;
  hairpin: boolean;
  isolated: boolean;
}

export interface VxlanInfo {
  vni: number;
  localAddress: string;
  port: number;
  learning: boolean;
}

export interface LinkInfo {
  index: number;
  name: string;
  /** "bridge", "vxlan", "veth" …; "loopback" for lo, empty for a real device. */
  kind: string;
  mac: string;
  mtuBytes: number;
  up: boolean;
  master?: number;
  /** Of a veth: the index of its other end, in whatever namespace that is. */
  peer?: number;
  vxlan?: VxlanInfo;
  /** Where it has a bridge as its master. */
  port?: BridgePort;
}
export interface NeighbourInfo {
  link: number;
  address: string;
  mac: string;
}
export interface FdbInfo {
  link: number;
  mac: string;
  where: 'master' | 'self';
  destination?: string;
  /** Of a bridge: a frame for it is taken in by the host itself. */
  isLocal?: boolean;
  /** self: where it differs from the device's own. */
  port?: number;
  vni?: number;
}
export interface AddressInfo {
  link: number;
  cidr: string;
}
export interface RouteInfo {
  destination: string;
  via?: string;
  source?: string;
  link?: number;
  table: number;
}

export interface Netlink {
  /**
   * Does all that can be done; then throws the error of the first that failed, if any did.
   */
  apply(ops: readonly NetlinkOp[], netns?: string): Promise<void>;
  links(netns?: string): Promise<LinkInfo[]>;
  /** IPv4, like all that follow. */
  addresses(netns?: string): Promise<AddressInfo[]>;
  /** Permanent neighbour entries of IPv4. */
  neighbours(netns?: string): Promise<NeighbourInfo[]>;
  /**
   * Bridge and VXLAN forwarding entries: static ones, those that lead to the host itself (the ports'
   * own addresses are among them), and those with a destination. None that are of one VLAN alone.
   */
  fdb(netns?: string): Promise<FdbInfo[]>;
  /** Unicast routes of every table but that of local addresses. */
  routes(netns?: string): Promise<RouteInfo[]>;
  /**
   * Whether anything that the lists above tell may have changed since the last call, by whomever;
   * true the first time.
   */
  hasChanged(netns?: string): Promise<boolean>;
}

export interface Namespaces {
  /** A new network namespace kept alive by a bind mount on `path` (made if missing), `lo` up. */
  createNetns(path: string): Promise<void>;
  /** Ends it: all its links go with it, asynchronously in the kernel. */
  dropNetns(path: string): Promise<void>;
  /** Whether `path` is a live namespace file. */
  hasNetns(path: string): Promise<boolean>;
  /**
   * A private mount namespace pinned on `path`, in which the hybrid host's cgroup2 mount is hidden
   * under the folder "cgroup2" beside `path`, so that crun works (cgroup v1); what crun writes there
   * is for the caller to remove. Already pinned: kept. The folder of `path` becomes
   * a private mount; it must hold nothing else that is mounted.
   * @param sharedPaths folders made shared mounts (see Mounts.makeShared) whose later mounts must
   *   show up in the namespace too; one pinned before they were so is replaced
   */
  pinCrunMountNamespace(path: string, sharedPaths?: readonly string[]): Promise<void>;
  /** Undoes pinCrunMountNamespace. What runs in the namespace keeps it. */
  unpinMountNamespace(path: string): Promise<void>;
  /**
   * Writes kernel parameters, in a network namespace for those under net.*:
   * {"net.ipv4.ip_forward": "1"} or, for names that hold dots, {"net/ipv4/conf/br.5/rp_filter": "0"}.
   */
  setSysctls(values: Readonly<Record<string, string>>, netns?: string): Promise<void>;
  /** Kernel parameters as they are, without the final line break; those that do not exist are left out. */
  sysctls(names: readonly string[], netns?: string): Promise<Record<string, string>>;
}

/** So many ids, 0 and up, stand for as many others. */
export interface IdRange {
  firstId: number;
  count: number;
}
/** Users and groups of a user namespace: 0 inside is `firstId` outside. */
export interface IdMap {
  uids: IdRange;
  gids: IdRange;
}

export interface OverlayMount {
  /** Topmost first. */
  lowerDirs: readonly string[];
  upperDir: string;
  workDir: string;
  target: string;
  /**
   * Shows what belongs to 0 in the lower directories as belonging to `firstId`. On disk nothing
   * changes; the upper directory itself must belong to `firstId` already. Needs Linux 5.19.
   */
  idMap?: IdMap;
}

export interface Mounts {
  /** overlayfs of up to 500 layers, whatever the length of their paths. */
  overlay(mount: OverlayMount): Promise<void>;
  bind(
    source: string,
    target: string,
    options?: { readOnly?: boolean; recursive?: boolean },
  ): Promise<void>;
  tmpfs(target: string, options?: { sizeBytes?: number; mode?: number }): Promise<void>;
  /** Makes `path` a mount point of its own with shared propagation. */
  makeShared(path: string): Promise<void>;
  /** Lazy (MNT_DETACH); a path that is no mount point is success. */
  unmount(target: string): Promise<void>;
  /** Mount points under `prefix` in this process's namespace, deepest last. */
  list(prefix: string): Promise<string[]>;
}

export interface SpawnOptions {
  file: string; // absolute
  args: readonly string[]; // without argv[0]
  env: Readonly<Record<string, string>>;
  cwd?: string;
  /** Child descriptor → what it is. 0, 1 and 2 not named here become /dev/null. */
  fds?: readonly SpawnFd[];
  /** Leads a session of its own (setsid), out of reach of the terminal's signals. */
  newSession?: boolean;
}
export type SpawnFd =
  | { fd: number; pipe: 'read' | 'write' } // the child's end; the other end comes back in `pipes`
  | { fd: number; inherit: number };

export interface SpawnedProcess {
  pid: number;
  /** Parent's ends of the pipes asked for, by child descriptor; the caller owns and closes them. */
  pipes: ReadonlyMap<number, number>;
  /** Exit code, or 128 + signal. Always collected, so that no zombie stays. */
  exited: Promise<number>;
}

/** posix_spawn(3): a fraction of a millisecond and no stall of the event loop, unlike child_process. */
export interface Spawner {
  spawn(options: SpawnOptions): Promise<SpawnedProcess>;
}

/** terse: without the elements of sets. */
export type ListingDetail = 'full' | 'terse';

/** A named counter of a table. */
export interface NftCounter {
  family: 'ip' | 'bridge';
  table: string;
  name: string;
}

export interface Nftables {
  /** Runs one nft script as one transaction: all or nothing. */
  run(script: string, netns?: string): Promise<void>;
  /** `list …` commands with JSON output, parsed: the array under "nftables". */
  query(command: string, netns?: string, detail?: ListingDetail): Promise<unknown[]>;
  /**
   * How many packets a counter has seen since it was made; costs no more with large tables.
   * @throws {HatobaError} not-found
   */
  countedPackets(counter: NftCounter, netns?: string): Promise<number>;
  /**
   * Whether anything but run() has changed any table since the last call: another program, or a
   * person. True the first time.
   */
  isChangedByOthers(netns?: string): Promise<boolean>;
}

/** File system calls that node:fs does not have. */
export interface Files {
  /** @param mode type and permissions as in mknod(2), kept exactly whatever the umask is */
  mknod(path: string, mode: number, major: number, minor: number): Promise<void>;
  /** Of `path` itself where it is a symbolic link. */
  setXattr(path: string, name: string, value: Uint8Array): Promise<void>;
  /** @returns undefined where the file has no such attribute */
  getXattr(path: string, name: string): Promise<Uint8Array | undefined>;
  /**
   * Waits until all that was written to the file system of `path` is on disk, syncfs(2). That may
   * take seconds, so it holds up no other call.
   */
  syncFilesystem(path: string): Promise<void>;
}

/** Sockets and terminals that Node has no class for, as streams on the event loop. */
export interface Sockets {
  /**
   * A connection to a SOCK_SEQPACKET socket: one Buffer for each packet that comes; what is written
   * goes in packets of at most `packetBytes`, and its end is passed on. While it is not read, the
   * peer's writes wait. It ends when the peer closes, after all that it has sent; what a peer that is
   * gone should have got is dropped, and is no error.
   * @param path may be longer than a socket's address holds
   * @throws {HatobaError} not-found; unavailable while too many others wait for the peer
   */
  connectPackets(path: string, packetBytes: number): Promise<Duplex>;
  /** A socket over which another program hands on the terminal it has made (--console-socket). */
  listenForTerminal(path: string): Promise<TerminalListener>;
  /**
   * Sets the size of a terminal by the file of one of its sides.
   * @throws {HatobaError} internal for what is no terminal
   */
  resizeTerminal(path: string, size: { rows: number; columns: number }): Promise<void>;
}

export interface TerminalListener {
  /** Rejects with `cancelled` when the listener is closed before one was sent. */
  readonly terminal: Promise<Terminal>;
  /** Takes in what has been sent already, nothing later. Takes the socket's file away, too. */
  close(): Promise<void>;
}

/** The master side of a terminal. */
export interface Terminal {
  /**
   * What programs write to it, and what is typed. Ends when no program has it open any more.
   * Destroying it hangs up.
   */
  readonly stream: Duplex;
  resize(size: { rows: number; columns: number }): Promise<void>;
}

/** One direction of a flow. Ports are 0 for protocols that have none. */
export interface FlowTuple {
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
}

/** What the kernel keeps of one connection, or of packets to and fro, to translate addresses. */
export interface FlowInfo {
  /** "tcp", "udp", "sctp", "icmp", or "protocol 47" */
  protocol: string;
  /** Of TCP and SCTP: "syn_sent", "established", "fin_wait" …; else empty. */
  state: string;
  /** As the first packet came in. */
  original: FlowTuple;
  /** As answers come in: their source is who was really reached, whatever address was asked for. */
  reply: FlowTuple;
  mark: number;
  zone: number;
}

export interface FlowFilter {
  /**
   * Who was really reached: one of these addresses, or any address of some subnets ("10.0.1.0/24")
   * but those excepted.
   */
  reached: readonly string[] | { within: readonly string[]; except: readonly string[] };
  /** All if absent. */
  protocols?: readonly ('tcp' | 'udp' | 'sctp')[];
  /**
   * Only those that another than who was reached has begun, and by which data may still come:
   * TCP and SCTP from the first answer to the last word of either side.
   */
  isOpen?: boolean;
  /** Only those that asked for another address than the one that was reached. */
  isTranslated?: boolean;
}

/** Connection tracking of IPv4, nf_conntrack(5). */
export interface Conntrack {
  flows(filter: FlowFilter, netns?: string): Promise<FlowInfo[]>;
  /** How many there are by the address reached; an address without any is left out. */
  countFlows(filter: FlowFilter, netns?: string): Promise<ReadonlyMap<string, number>>;
  /**
   * Forgets flows: the next packet of one is looked at as the first of a new one.
   * @returns how many there were
   */
  removeFlows(filter: FlowFilter, netns?: string): Promise<number>;
}

/** Everything the worker thread offers; `main.ts` opens it once and hands out the parts. */
export interface Kernel extends AsyncDisposable {
  readonly netlink: Netlink;
  readonly namespaces: Namespaces;
  readonly mounts: Mounts;
  readonly spawner: Spawner;
  readonly nftables: Nftables;
  readonly conntrack: Conntrack;
  readonly files: Files;
  readonly sockets: Sockets;
}
