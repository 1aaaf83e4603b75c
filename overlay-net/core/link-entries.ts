import type { EntryOp } from './kernel-model.js';
import { addressOf } from './ipam.js';

const MAIN_TABLE = 254;

/** Anything on links but the links themselves: an address, a neighbour, a route … */
export interface Entry {
  /** What adding it again replaces; two entries of one key exclude each other. */
  value: string;
  /** The link with which it disappears; empty: none. */
  link: string;
  add: EntryOp;
  del: EntryOp;
  /** Key of the entry along with which the kernel makes this one by itself. */
  follows?: string;
}

export type Keyed = readonly [key: string, entry: Entry];

export function putEntry(entries: Map<string, Entry>, [key, entry]: Keyed): void {
  entries.set(key, entry);
}

export function addressEntry(link: string, cidr: string): Keyed {
  const add = { op: 'address-add', link, cidr } as const;
  const del = { op: 'address-del', link, cidr } as const;
  return [`address ${link} ${cidr}`, { value: '', link, add, del }];
}

export interface RouteParts {
  destination: string;
  link: string;
  via?: string;
  /** The address that this host sends from by that route. */
  source?: string;
  /** 254, the main table. */
  table?: number;
}

export function routeEntry({ table = MAIN_TABLE, ...parts }: RouteParts): Keyed {
  const { link, via, source = '' } = parts;
  const route = { ...parts, table };
  const key = `route ${table} ${route.destination} dev ${link}`;
  const add = { ...route, op: 'route-add' } as const;
  const del = { ...route, op: 'route-del' } as const;
  return [via === undefined ? key : `${key} via ${via}`, { value: source, link, add, del }];
}

/** The route to a subnet of which an address of ours is on a link. */
export function subnetRouteEntry(link: string, subnet: string, ownCidr: string): Keyed {
  const source = addressOf(ownCidr);
  const [key, route] = routeEntry({ destination: subnet, link, source });
  return [key, { ...route, follows: addressEntry(link, ownCidr)[0] }];
}

export function neighbourEntry(link: string, address: string, mac: string): Keyed {
  const add = { op: 'neigh-add', link, address, mac } as const;
  const del = { op: 'neigh-del', link, address, mac } as const;
  return [`neigh ${link} ${address}`, { value: mac, link, add, del }];
}

/** A MAC behind a port of a bridge. */
export function bridgeFdbEntry(link: string, mac: string): Keyed {
  const add = { op: 'fdb-add', link, mac, where: 'master' } as const;
  const del = { op: 'fdb-del', link, mac, where: 'master' } as const;
  return [`fdb master ${link} ${mac}`, { value: '', link, add, del }];
}

/** A MAC behind the other end of a tunnel. */
export function vxlanFdbEntry(link: string, mac: string, destination: string): Keyed {
  const add = { op: 'fdb-add', link, mac, where: 'self', destination } as const;
  const del = { op: 'fdb-del', link, mac, where: 'self', destination } as const;
  // only group addresses (and all zeros) can have several destinations
  const isGroup = (parseInt(mac.slice(0, 2), 16) & 1) === 1 || mac === '00:00:00:00:00:00';
  const key = `fdb self ${link} ${mac}${isGroup ? ` ${destination}` : ''}`;
  return [key, { value: destination, link, add, del }];
}
