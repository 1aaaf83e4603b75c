import { HatobaError } from '../../common/errors.js';
import type {
  AddressInfo,
  BridgePort,
  FdbInfo,
  FlowInfo,
  LinkInfo,
  NeighbourInfo,
  NetlinkOp,
  RouteInfo,
} from '../../linux/ports.js';

/** A link in memory, with what LinkInfo does not tell. */
export interface FakeLink extends Omit<LinkInfo, 'port' | 'peer'> {
  port: BridgePort;
  /** Of a veth: the other end. */
  otherEnd?: { link: FakeLink; network: FakeNetwork };
}

const NEW_PORT: BridgePort = {
  learning: true,
  flood: true,
  mcastFlood: true,
  bcastFlood: true,
  neighSuppress: false,
  proxyArp: false,
  hairpin: false,
  isolated: false,
};

/** What the kernel tells of a link. */
export function toLinkInfo({ port, otherEnd, ...link }: FakeLink): LinkInfo {
  return {
    ...link,
    ...(otherEnd === undefined ? {} : { peer: otherEnd.link.index }),
    ...(link.master === undefined ? {} : { port }),
  };
}

/** One network namespace in memory: enough of rtnetlink(7) that plans can be applied and read back. */
export class FakeNetwork {
  readonly links: FakeLink[] = [];
  addresses: AddressInfo[] = [];
  neighbours: NeighbourInfo[] = [];
  fdb: FdbInfo[] = [];
  routes: RouteInfo[] = [];
  /** Put there by the test. */
  flows: FlowInfo[] = [];
  readonly sysctls = new Map<string, string>();
  readonly #namespaceOf: (path: string) => FakeNetwork;
  #lastIndex = 0;

  /** @param namespaceOf finds the namespace that a veth's peer goes to */
  constructor(namespaceOf: (path: string) => FakeNetwork) {
    this.#namespaceOf = namespaceOf;
    this.#addLink('lo', 'loopback', {}).up = true;
  }

  /** @throws {HatobaError} not-found, already-exists as the real one does */
  apply(op: NetlinkOp): void {
    switch (op.op) {
      case 'link-add':
        this.#applyLinkAdd(op);
        return;
      case 'link-set':
        this.#applyLinkSet(op);
        return;
      case 'link-del':
        this.removeLink(op.name);
        return;
      case 'bridge-port': {
        const { op: _, name, ...port } = op;
        const link = this.#link(name);
        link.port = { ...link.port, ...port };
        return;
      }
      default:
        this.#applyEntry(op);
    }
  }

  /** Takes a link away with all that hangs on it, and a veth's peer too. */
  removeLink(name: string): void {
    const at = this.links.findIndex((l) => l.name === name);
    const link = this.links[at];
    if (link === undefined) return;
    this.links.splice(at, 1);
    const isElsewhere = (entry: { link?: number }): boolean => entry.link !== link.index;
    this.addresses = this.addresses.filter(isElsewhere);
    this.neighbours = this.neighbours.filter(isElsewhere);
    this.fdb = this.fdb.filter(isElsewhere);
    this.routes = this.routes.filter(isElsewhere);
    for (const port of this.links) if (port.master === link.index) delete port.master;
    const { otherEnd } = link;
    delete link.otherEnd;
    if (otherEnd !== undefined) otherEnd.network.removeLink(otherEnd.link.name);
  }

  #applyLinkAdd(op: Extract<NetlinkOp, { op: 'link-add' }>): void {
    const there = this.links.find((l) => l.name === op.name);
    const details = { ...('mac' in op ? { mac: op.mac } : {}), mtuBytes: op.mtuBytes };
    if (there !== undefined) {
      const isSame = there.kind === op.kind && (op.kind !== 'vxlan' || there.vxlan?.vni === op.vni);
      if (!isSame) throw new HatobaError('already-exists', `${op.op} ${op.name}: another link`);
      change(there, details);
      return;
    }
    const link = this.#addLink(op.name, op.kind, details);
    if (op.kind === 'vxlan') {
      const { vni, localAddress, port } = op;
      link.vxlan = { vni, localAddress, port, learning: false };
    }
    if (op.kind !== 'veth') return;
    const network = this.#namespaceOf(op.peer.netns);
    const peer = network.#addLink(op.peer.name, 'veth', {
      mac: op.peer.mac,
      mtuBytes: op.mtuBytes,
    });
    link.otherEnd = { link: peer, network };
    peer.otherEnd = { link, network: this };
  }

  #applyLinkSet(op: Extract<NetlinkOp, { op: 'link-set' }>): void {
    const target = op.netns === undefined ? this : this.#namespaceOf(op.netns);
    const isMoved = op.netns !== undefined || op.newName !== undefined;
    const isThere = (name: string) => (l: FakeLink) => l.name === name;
    const isDone = target.links.some(isThere(op.newName ?? op.name));
    if (isMoved && isDone && !this.links.some(isThere(op.name))) return;
    const link = this.#link(op.name);
    change(link, { up: op.up, mtuBytes: op.mtuBytes, mac: op.mac, name: op.newName });
    if (op.master === null) delete link.master;
    else if (op.master !== undefined) {
      const master = this.#link(op.master).index;
      if (link.master !== master) link.port = NEW_PORT;
      link.master = master;
    }
    if (target === this) return;
    this.links.splice(this.links.indexOf(link), 1);
    target.links.push(link);
  }

  #applyEntry(op: Exclude<NetlinkOp, { op: `link-${string}` | 'bridge-port' }>): void {
    switch (op.op) {
      case 'address-add':
      case 'address-del':
        this.addresses = put(this.addresses, { ...this.#on(op), cidr: op.cidr }, op.op);
        return;
      case 'route-add':
      case 'route-del':
        this.routes = put(this.routes, this.#route(op), op.op, ['destination', 'table']);
        return;
      case 'neigh-add':
      case 'neigh-del': {
        const entry = { ...this.#on(op), address: op.address, mac: op.mac };
        this.neighbours = put(this.neighbours, entry, op.op, ['link', 'address']);
        return;
      }
      case 'fdb-add':
      case 'fdb-del': {
        const destination = op.destination === undefined ? {} : { destination: op.destination };
        const entry = { ...this.#on(op), mac: op.mac, where: op.where, ...destination };
        this.fdb = put(this.fdb, entry, op.op, ['link', 'mac', 'where']);
        return;
      }
    }
  }

  #route(op: Extract<NetlinkOp, { op: 'route-add' | 'route-del' }>): RouteInfo {
    return {
      destination: op.destination,
      table: op.table ?? 254,
      ...(op.via === undefined ? {} : { via: op.via }),
      ...(op.source === undefined ? {} : { source: op.source }),
      ...(op.link === undefined ? {} : { link: this.#indexOf(op.link, op.op) }),
    };
  }

  #on(op: { op: string; link: string }): { link: number } {
    return { link: this.#indexOf(op.link, op.op) };
  }

  /** What is on a link that is gone is gone too: -1 matches nothing. */
  #indexOf(name: string, op: string): number {
    const link = this.links.find((l) => l.name === name);
    return link === undefined && op.endsWith('-del') ? -1 : this.#link(name).index;
  }

  #link(name: string): FakeLink {
    const link = this.links.find((l) => l.name === name);
    if (link === undefined) throw new HatobaError('not-found', `there is no link ${name}`);
    return link;
  }

  #addLink(
    name: string,
    kind: string,
    details: { mac?: string | undefined; mtuBytes?: number | undefined },
  ): FakeLink {
    if (this.links.some((l) => l.name === name)) {
      throw new HatobaError('already-exists', `link ${name} exists`);
    }
    const index = ++this.#lastIndex;
    const tail = index.toString(16).padStart(2, '0');
    const link: FakeLink = {
      index,
      name,
      kind,
      mac: details.mac ?? `fe:00:00:00:00:${tail}`,
      mtuBytes: details.mtuBytes ?? 1500,
      up: false,
      port: NEW_PORT,
    };
    this.links.push(link);
    return link;
  }
}

/** Sets what is given. */
function change<T extends object>(target: T, values: { [K in keyof T]?: T[K] | undefined }): void {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  Object.assign(target, Object.fromEntries(given));
}

/** The list with the entry in place of those it equals in `keys` (all, if none are given), or without. */
function put<T extends object>(
  entries: readonly T[],
  entry: T,
  op: string,
  keys?: readonly (keyof T)[],
): T[] {
  const key = (e: T): string =>
    JSON.stringify(keys === undefined ? Object.entries(e).sort() : keys.map((k) => e[k]));
  const others = entries.filter((e) => key(e) !== key(entry));
  return op.endsWith('-add') ? [...others, entry] : others;
}
