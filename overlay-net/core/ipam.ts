import { HatobaError, isKind } from '../../common/errors.js';

/**
 * IPv4 subnets and addresses as values: what is free follows from what is used, so that no lease is
 * kept anywhere but in the objects that hold the addresses.
 */

/** A subnet; `base` has no bit set past `prefixLength`. */
export interface Cidr {
  /** The network address as an unsigned 32-bit number. */
  base: number;
  /** 0..32 */
  prefixLength: number;
}

/** What `has` a used address says yes to; a Set<string> of dotted addresses is one. */
export interface UsedAddresses {
  has(address: string): boolean;
}

export interface PoolUsage {
  /** Addresses that can be given to links: without network and broadcast address. */
  total: number;
  used: number;
  free: number;
}

/**
 * The number behind a dotted IPv4 address, "10.0.0.1" → 0x0a000001.
 * @throws {HatobaError} invalid-argument
 */
export function parseAddress(text: string): number {
  const value = toNumber(text);
  if (value === undefined) {
    throw new HatobaError('invalid-argument', `"${text}" is not an IPv4 address like 10.0.1.7`);
  }
  return value;
}

/** Whether `text` is a dotted IPv4 address. */
export function isAddress(text: string): boolean {
  return toNumber(text) !== undefined;
}

function toNumber(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    // "010" is refused: some programs read it as octal
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

/** 0x0a000001 → "10.0.0.1" */
export function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/**
 * A subnet from "10.0.1.0/24".
 * @throws {HatobaError} invalid-argument when it is no CIDR, or has bits set past the prefix
 */
export function parseCidr(text: string): Cidr {
  const { address, prefixLength } = parseInterface(text);
  const base = networkBase(address, prefixLength);
  if (base !== address) {
    const right = formatCidr({ base, prefixLength });
    throw new HatobaError('invalid-argument', `"${text}" is not a subnet: write ${right}`);
  }
  return { base, prefixLength };
}

/** A subnet from "10.0.1.0/24"; undefined when it is none. */
export function cidrFrom(text: string): Cidr | undefined {
  try {
    return parseCidr(text);
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return undefined;
    throw error;
  }
}

/**
 * An address with its prefix length, from "10.0.1.7/24".
 * @throws {HatobaError} invalid-argument
 */
export function parseInterface(text: string): { address: number; prefixLength: number } {
  const [address, prefix, ...rest] = text.split('/');
  const value = toNumber(address ?? '');
  if (value === undefined || prefix === undefined || rest.length > 0) {
    throw new HatobaError('invalid-argument', `"${text}" is not a CIDR like 10.0.1.0/24`);
  }
  if (!/^\d{1,2}$/.test(prefix) || Number(prefix) > 32) {
    throw new HatobaError('invalid-argument', `"${text}" has no prefix length between 0 and 32`);
  }
  return { address: value, prefixLength: Number(prefix) };
}

/** "10.0.1.7/24" → "10.0.1.7"; what has no prefix length stays as it is. */
export function addressOf(cidr: string): string {
  return cidr.split('/', 1)[0] ?? '';
}

/** "10.0.1.0/24" */
export function formatCidr(subnet: Cidr): string {
  return `${formatAddress(subnet.base)}/${subnet.prefixLength}`;
}

/** The subnet of that length around an address. */
export function subnetOf(address: number, prefixLength: number): Cidr {
  return { base: networkBase(address, prefixLength), prefixLength };
}

export function subnetOverlaps(a: Cidr, b: Cidr): boolean {
  return a.base <= lastOf(b) && b.base <= lastOf(a);
}

export function subnetContains(subnet: Cidr, address: string): boolean {
  const value = toNumber(address);
  return value !== undefined && value >= subnet.base && value <= lastOf(subnet);
}

/**
 * The lowest subnet of that length which lies in one of the pools, in their order, and overlaps none
 * in use; undefined when the pools are exhausted.
 * @param used subnets of networks, and any others to keep clear of
 * @throws {HatobaError} invalid-argument for a prefix length outside 1..30
 */
export function nextSubnet(
  pools: readonly Cidr[],
  prefixLength: number,
  used: readonly Cidr[],
): Cidr | undefined {
  if (!Number.isInteger(prefixLength) || prefixLength < 1 || prefixLength > 30) {
    throw new HatobaError('invalid-argument', `prefix length ${prefixLength} is not within 1..30`);
  }
  const size = 2 ** (32 - prefixLength);
  const taken = [...used].sort((a, b) => a.base - b.base);
  for (const pool of pools) {
    if (pool.prefixLength > prefixLength) continue;
    let base = pool.base;
    for (const other of taken) {
      if (lastOf(other) < base) continue;
      if (other.base > base + size - 1) break;
      base = Math.ceil((lastOf(other) + 1) / size) * size;
    }
    if (base + size - 1 <= lastOf(pool)) return { base, prefixLength };
  }
  return undefined;
}

/** The first address that a link may have: by convention the gateway. */
export function firstAddress(subnet: Cidr): string {
  return formatAddress(hostRange(subnet).first);
}

/**
 * A free address of the subnet, undefined when there is none. Never the network or the broadcast
 * address.
 * @param options.from next fit: the search begins behind this address and wraps around, so that
 *   addresses just given back rest for a while; without it the lowest free one is taken
 * @param options.within only addresses that lie in this part of the subnet, too
 */
export function nextAddress(
  subnet: Cidr,
  used: UsedAddresses,
  options: { from?: string; within?: Cidr } = {},
): string | undefined {
  const { first, last } = hostRange(subnet, options.within);
  const count = last - first + 1;
  const after = options.from === undefined ? undefined : toNumber(options.from);
  const start = after === undefined || after < first || after >= last ? 0 : after + 1 - first;
  for (let i = 0; i < count; i++) {
    const address = formatAddress(first + ((start + i) % count));
    if (!used.has(address)) return address;
  }
  return undefined;
}

/**
 * How much of a subnet is given away; addresses outside of it or given twice do not count.
 * @param within only what lies in this part of the subnet, too
 */
export function poolUsage(subnet: Cidr, used: Iterable<string>, within?: Cidr): PoolUsage {
  const { first, last } = hostRange(subnet, within);
  const inside = new Set<number>();
  for (const address of used) {
    const value = toNumber(address);
    if (value !== undefined && value >= first && value <= last) inside.add(value);
  }
  const total = Math.max(0, last - first + 1);
  return { total, used: inside.size, free: total - inside.size };
}

function lastOf(subnet: Cidr): number {
  return subnet.base + 2 ** (32 - subnet.prefixLength) - 1;
}

function networkBase(address: number, prefixLength: number): number {
  const size = 2 ** (32 - prefixLength);
  return Math.floor(address / size) * size;
}

/**
 * The first and the last address that a link may have; /31 and /32 have no network or broadcast
 * address (RFC 3021).
 * @param within only what lies in this part of the subnet, too; then the last may be below the first
 */
export function hostRange(subnet: Cidr, within = subnet): { first: number; last: number } {
  const edge = subnet.prefixLength >= 31 ? 0 : 1;
  return {
    first: Math.max(subnet.base + edge, within.base),
    last: Math.min(lastOf(subnet) - edge, lastOf(within)),
  };
}
