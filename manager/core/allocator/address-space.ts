import {
  nextAddress,
  parseAddress,
  parseCidr,
  poolUsage,
  subnetContains,
  type Cidr,
} from '../../../overlay-net/core/ipam.js';
import type { IPAMConfig } from '../../../proto/gen/hatoba/v1/types.js';

/**
 * The addresses of one network. Next-fit: the search goes on after the address given last, so that
 * one just released is not given again at once. Addresses of tasks that have ended, but whose
 * object is still there, are given only when no other is left, the longest ended first.
 */
export class AddressSpace {
  readonly #subnet: Cidr;
  /** The part of the subnet to give from. */
  readonly #range: Cidr;
  readonly #used = new Set<string>();
  /** Address → when its task ended. */
  readonly #ended = new Map<string, number>();
  #cursor: string | undefined;

  /**
   * @param ipam as the allocator stored it
   * @param cursor the address given last, "10.0.1.7"; unknown: the highest in use
   */
  constructor(ipam: IPAMConfig, cursor: string | undefined) {
    this.#subnet = parseCidr(ipam.subnet);
    this.#range = ipam.ipRange === '' ? this.#subnet : parseCidr(ipam.ipRange);
    if (ipam.gateway !== '') this.#used.add(ipam.gateway);
    this.#cursor = cursor;
  }

  /** What was given last, for the cursor of the next space of this network. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** Notes an address that is in use. @param cidr "10.0.1.7/24" */
  occupy(cidr: string): void {
    const address = addressOf(cidr);
    this.#used.add(address);
    this.#ended.delete(address);
  }

  /** Notes the address of a task that has ended. */
  occupyEnded(cidr: string, endedAtMs: number): void {
    const address = addressOf(cidr);
    if (!this.#used.has(address)) this.#ended.set(address, endedAtMs);
  }

  /** @returns "10.0.1.7/24", or undefined when none is left */
  take(): string | undefined {
    this.#cursor ??= highest(this.#used);
    const from = this.#cursor;
    const occupied = { has: (a: string): boolean => this.#isTaken(a) || this.#ended.has(a) };
    const address =
      nextAddress(this.#subnet, occupied, from === undefined ? {} : { from }) ??
      this.#longestEnded();
    if (address === undefined) return undefined;
    this.#ended.delete(address);
    this.#used.add(address);
    this.#cursor = address;
    return `${address}/${this.#subnet.prefixLength}`;
  }

  /** "254 addresses, 254 used, 0 free" */
  describe(): string {
    const { total, used, free } = poolUsage(this.#range, this.#used);
    return `${total} addresses, ${used} used, ${free} free`;
  }

  #isTaken(address: string): boolean {
    return this.#used.has(address) || !subnetContains(this.#range, address);
  }

  #longestEnded(): string | undefined {
    let best: string | undefined;
    let bestMs = Infinity;
    for (const [address, endedAtMs] of this.#ended) {
      if (endedAtMs >= bestMs || this.#isTaken(address)) continue;
      best = address;
      bestMs = endedAtMs;
    }
    return best;
  }
}

function addressOf(cidr: string): string {
  return cidr.split('/', 1)[0] ?? '';
}

function highest(addresses: Iterable<string>): string | undefined {
  let best: string | undefined;
  for (const address of addresses) {
    if (best === undefined || parseAddress(address) > parseAddress(best)) best = address;
  }
  return best;
}
