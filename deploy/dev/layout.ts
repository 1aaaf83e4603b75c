/**
 * `hatoba dev`: a cluster of hosts on one machine. Each host is a network namespace with its own
 * address, folders and cgroup parent; a bridge in a namespace of its own joins them, and one link
 * leads from there to the machine:
 *
 *   machine ── hatoba0 ──┐
 *                        bridge (namespace hatoba-underlay) ── eth0 of hatoba-n1, hatoba-n2 …
 */
export const DEV_ROOT = '/var/lib/hatoba/dev';
export const DEV_RUN = '/run/hatoba/dev';
export const UNDERLAY_NETNS = 'hatoba-underlay';
export const UNDERLAY_BRIDGE = 'underlay';
/** The machine's end of its link to the underlay. */
export const MACHINE_LINK = 'hatoba0';
export const MACHINE_ADDRESS = '10.77.0.254';
export const UNDERLAY_SUBNET = '10.77.0.0/24';
export const UNDERLAY_PREFIX = 24;
/** nftables table of the machine that lets the hosts reach the outside. */
export const NAT_TABLE = 'hatoba_dev';
export const CGROUP = 'hatoba-dev';
export const MAX_HOSTS = 50;

export interface Host {
  /** n1, n2 … */
  name: string;
  address: string;
  role: 'manager' | 'worker';
}

/**
 * What a host's network card is known by. It stays the same when the host is switched off and on:
 * the others would go on for seconds to send to a card that is gone.
 */
export function cardOf({ address }: Pick<Host, 'address'>): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return ['0a', '48', ...bytes].join(':');
}

export interface HostPlaces {
  root: string;
  runDir: string;
  /** Name of the namespace, for `ip netns`. */
  netns: string;
  netnsPath: string;
  /** The underlay's end of the host's link. */
  link: string;
  /** Relative to each cgroup hierarchy. */
  cgroup: string;
}

/** The host with this number, from 1. The first `managers` hosts are managers. */
export function hostAt(number: number, managers: number): Host {
  return {
    name: `n${number}`,
    address: `10.77.0.${number}`,
    role: number <= managers ? 'manager' : 'worker',
  };
}

export function placesOf({ name }: Pick<Host, 'name'>): HostPlaces {
  const netns = `hatoba-${name}`;
  return {
    root: `${DEV_ROOT}/${name}`,
    runDir: `${DEV_RUN}/${name}`,
    netns,
    netnsPath: `/run/netns/${netns}`,
    link: `link-${name}`,
    cgroup: `${CGROUP}/${name}`,
  };
}
