import {
  addressOf,
  hostRange,
  isAddress,
  nextAddress,
  parseAddress,
  parseCidr,
  poolUsage,
  subnetContains,
  type Cidr,
  type PoolUsage,
} from '../../../overlay-net/core/ipam.js';
import type { IPAMConfig } from '../../../proto/gen/hatoba/v1/types.js';

/** One subnet of a network. */
interface Part {
  readonly subnet: Cidr;
  /** The part of the subnet to give from. */
  readonly range: Cidr;
  /** The first and the last address of the range that may be given, as numbers. */
  readonly first: number;
  readonly last: number;
  /** How many of them nobody has or had. */
  untouched: number;
  /** The address given last. */
  cursor: string | undefined;
}

/**
 * The addresses of one network, from its first subnet that has some left. Next-fit: the search goes
 * on after the address given last, so that one just released is not given again at once. Addresses
 * of tasks that have ended, but whose object is still there, are given only when no other is left,
 * the longest ended first. Whoever has an address is counted, so that it can be given up as well.
 */
export class AddressSpace {
  readonly #ipam: readonly IPAMConfig[];
  readonly #parts: readonly Part[];
  /** Address → by how many. */
  readonly #used = new Map<string, number>();
  /** Address → when each task that had it ended. */
  readonly #ended = new Map<string, readonly number[]>();
  #cursor: string | undefined;

  /**
   * @param ipam as stored with the network
   * @param cursor the address given last, "10.0.1.7"; unknown: the highest in use
   */
  constructor(ipam: readonly IPAMConfig[], cursor?: string) {
    this.#ipam = ipam;
    this.#cursor = cursor;
    this.#parts = ipam.map(({ subnet: cidr, ipRange }) => {
      const subnet = parseCidr(cidr);
      const range = ipRange === '' ? subnet : parseCidr(ipRange);
      const { first, last } = hostRange(subnet, range);
      return {
        ...{ subnet, range, first, last },
        untouched: Math.max(0, last - first + 1),
        cursor: cursor !== undefined && subnetContains(subnet, cursor) ? cursor : undefined,
      };
    });
    for (const { gateway } of ipam) if (gateway !== '') this.occupy(gateway);
  }

  /** What was given last, for the cursor of the next space of this network. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** Notes an address that is in use. @param cidr "10.0.1.7/24" */
  occupy(cidr: string): void {
    const address = addressOf(cidr);
    this.#touch(address, -1);
    this.#used.set(address, (this.#used.get(address) ?? 0) + 1);
  }

  /** Takes one `occupy` back. */
  release(cidr: string): void {
    const address = addressOf(cidr);
    const left = (this.#used.get(address) ?? 0) - 1;
    if (left > 0) this.#used.set(address, left);
    else this.#used.delete(address);
    this.#touch(address, 1);
  }

  /** Notes the address of a task that has ended. */
  occupyEnded(cidr: string, endedAtMs: number): void {
    const address = addressOf(cidr);
    this.#touch(address, -1);
    this.#ended.set(address, [...(this.#ended.get(address) ?? []), endedAtMs]);
  }

  /** Takes one `occupyEnded` back. */
  releaseEnded(cidr: string, endedAtMs: number): void {
    const address = addressOf(cidr);
    const times = this.#ended.get(address) ?? [];
    const left = times.toSpliced(times.indexOf(endedAtMs), 1);
    if (left.length > 0) this.#ended.set(address, left);
    else this.#ended.delete(address);
    this.#touch(address, 1);
  }

  /** @returns "10.0.1.7/24", or undefined when none is left */
  take(): string | undefined {
    const address = this.#nextUntouched() ?? this.#longestEnded();
    if (address === undefined) return undefined;
    this.#cursor = address;
    return this.#give(address);
  }

  /**
   * A certain address, also one outside of the ranges.
   * @returns "10.0.1.7/24", or why it cannot be given
   */
  takeThis(address: string): { address: string } | { refusal: 'outside' | 'taken' } {
    const part = isAddress(address) ? this.#partOf(address) : undefined;
    const isGivable =
      part !== undefined &&
      poolUsage(part.subnet, [address]).used === 1; /* neither network nor broadcast address */
    if (!isGivable) return { refusal: 'outside' };
    return this.#used.has(address) ? { refusal: 'taken' } : { address: this.#give(address) };
  }

  /** Of all subnets together; an address that an ended task had is free. */
  usage(): PoolUsage {
    const parts = this.#parts.map(({ subnet, range }) =>
      poolUsage(subnet, this.#used.keys(), range),
    );
    return {
      total: sum(parts.map((p) => p.total)),
      used: sum(parts.map((p) => p.used)),
      free: sum(parts.map((p) => p.free)),
    };
  }

  /** "10.0.1.0/24: 254 addresses, 254 used, 0 free" */
  describe(): string {
    return `${this.from()}: ${this.counts()}`;
  }

  /** "10.0.1.0/24, 10.0.2.128/25 of 10.0.2.0/24" */
  from(): string {
    return this.#ipam
      .map(({ subnet, ipRange }) => (ipRange === '' ? subnet : `${ipRange} of ${subnet}`))
      .join(', ');
  }

  /** "254 addresses, 254 used, 0 free" */
  counts(): string {
    const { total, used, free } = this.usage();
    return `${total} addresses, ${used} used, ${free} free`;
  }

  #give(address: string): string {
    this.occupy(address);
    const part = this.#partOf(address);
    if (part === undefined) return address;
    if (subnetContains(part.range, address)) part.cursor = address;
    return `${address}/${part.subnet.prefixLength}`;
  }

  #partOf(address: string): Part | undefined {
    return this.#parts.find(({ subnet }) => subnetContains(subnet, address));
  }

  /** Before the first one notes an address, and after the last one has given it up. */
  #touch(address: string, change: 1 | -1): void {
    if (this.#used.has(address) || this.#ended.has(address)) return;
    const value = parseAddress(address);
    const part = this.#parts.find(({ first, last }) => value >= first && value <= last);
    if (part !== undefined) part.untouched += change;
  }

  #nextUntouched(): string | undefined {
    const occupied = { has: (a: string): boolean => this.#used.has(a) || this.#ended.has(a) };
    for (const part of this.#parts) {
      if (part.untouched === 0) continue; // a full one is not searched for each address
      part.cursor ??= highestIn(part.range, this.#used.keys());
      const from = part.cursor;
      const options = { within: part.range, ...(from === undefined ? {} : { from }) };
      const address = nextAddress(part.subnet, occupied, options);
      if (address !== undefined) return address;
    }
    return undefined;
  }

  #longestEnded(): string | undefined {
    let best: string | undefined;
    let bestMs = Infinity;
    for (const [address, times] of this.#ended) {
      if (this.#used.has(address)) continue;
      const endedAtMs = Math.max(...times);
      const range = this.#partOf(address)?.range;
      const mayBeGiven = range !== undefined && subnetContains(range, address);
      if (endedAtMs >= bestMs || !mayBeGiven) continue;
      best = address;
      bestMs = endedAtMs;
    }
    return best;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

function highestIn(range: Cidr, addresses: Iterable<string>): string | undefined {
  let best: string | undefined;
  for (const address of addresses) {
    if (!subnetContains(range, address)) continue;
    if (best === undefined || parseAddress(address) > parseAddress(best)) best = address;
  }
  return best;
}
