/**
 * Which task a client's address is led to, so that every node comes to the same answer without a
 * word: clients fall into buckets, and every bucket has a home among the service's slots.
 */

/** Prime, as the steps below need; about a hundred tasks still differ by little in their share. */
export const BUCKETS = 251;

/** A task that clients are kept with. */
export interface AffinityTask {
  address: string;
  /** What a task and the one that replaces it have in common. */
  home: string;
  ready: boolean;
}

/**
 * The address for each of the BUCKETS; empty while no task is ready.
 * 1. Homes share the buckets evenly (they differ by one at most), ready or not.
 * 2. While the homes stay the same, a task that comes or goes moves the clients of its home only.
 * 3. A home that comes or goes moves few clients beyond its own (Maglev hashing).
 * @see "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4
 */
export function assignBuckets(tasks: readonly AffinityTask[]): string[] {
  const ready = tasks.filter((t) => t.ready);
  if (ready.length === 0) return [];
  const byHome = new Map<string, string[]>();
  for (const { home, address } of ready) {
    byHome.set(home, [...(byHome.get(home) ?? []), address]);
  }
  const all = ready.map((t) => t.address);
  return shareBuckets(tasks.map((t) => t.home)).map((home, bucket) =>
    highest(byHome.get(home) ?? all, bucket),
  );
}

/** Each home in turn takes the next free bucket in an order of its own. */
function shareBuckets(homes: readonly string[]): string[] {
  const names = [...new Set(homes)].sort();
  const orders = names.map((name) => ({
    name,
    next: hash(name, 1) % BUCKETS,
    step: 1 + (hash(name, 2) % (BUCKETS - 1)),
  }));
  const buckets = new Array<string>(BUCKETS).fill('');
  for (let left = BUCKETS; left > 0;) {
    for (const order of orders.slice(0, left)) {
      while (buckets[order.next] !== '') order.next = (order.next + order.step) % BUCKETS;
      buckets[order.next] = order.name;
      left--;
    }
  }
  return buckets;
}

/** The address that has the highest score for a bucket: others may come and go. */
function highest(addresses: readonly string[], bucket: number): string {
  let best = '';
  let bestScore = -1;
  for (const address of addresses) {
    const score = hash(address, bucket + 3);
    if (score > bestScore || (score === bestScore && address > best)) {
      best = address;
      bestScore = score;
    }
  }
  return best;
}

/** 32 bits of a text, spread well: FNV-1a and the last steps of MurmurHash3. */
function hash(text: string, salt: number): number {
  let h = 0x811c9dc5 ^ salt;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
