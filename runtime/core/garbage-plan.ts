import type { Digest } from './digest.js';

/** When unused things are removed without being asked. */
export interface GarbageRules {
  /** Images that no container uses are kept at least this long after their last use. */
  imageMinAgeMs: number;
  /** Unused images go, the longest unused first, while the disk is fuller than this, 0–1 … */
  diskHighWatermark: number;
  /** … until it is below this. */
  diskLowWatermark: number;
  /** Interrupted downloads, and what an interrupted pull has unpacked, are kept this long. */
  partialMaxAgeMs: number;
  /** Containers that have ended are kept this long; undefined: until somebody removes them. */
  containerMaxAgeMs: number | undefined;
}

/**
 * A day for an image that is between two deployments; a week for a download somebody may go on
 * with; and the watermarks of those who collect garbage elsewhere. Ended containers stay.
 */
export const DEFAULT_GARBAGE_RULES: GarbageRules = {
  imageMinAgeMs: 24 * 3_600_000,
  diskHighWatermark: 0.85,
  diskLowWatermark: 0.8,
  partialMaxAgeMs: 7 * 24 * 3_600_000,
  containerMaxAgeMs: undefined,
};

export interface InventoryImage {
  readonly id: Digest;
  /** When a container was last made from it, or when it came. */
  readonly lastUsedAtMs: number;
  /** By a container, or by running work. */
  readonly isUsed: boolean;
  /** Names of its layers and blobs in `bytes`. */
  readonly data: readonly string[];
}

/** Data that no image, container or running work needs: what interrupted pulls left. */
export interface Leftover {
  readonly name: string;
  readonly writtenAtMs: number;
}

export interface Inventory {
  readonly images: readonly InventoryImage[];
  /** Bytes of every layer and blob, and of every interrupted download. */
  readonly bytes: ReadonlyMap<string, number>;
  readonly leftovers: readonly Leftover[];
}

export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface GarbagePlan {
  /** In the order in which they go. */
  readonly images: readonly Digest[];
  /** Names of leftovers. */
  readonly leftovers: readonly string[];
}

/**
 * What goes in one round: leftovers by their age; and while the disk is too full, the younger of them
 * too, the oldest first, then images that nothing uses, the longest unused first, until it is full no
 * more than the low watermark. Data that images share is freed with the last of them.
 */
export function planGarbage(
  inventory: Inventory,
  rules: GarbageRules,
  disk: DiskSpace,
  nowMs: number,
): GarbagePlan {
  const usedBytes = disk.totalBytes - disk.freeBytes;
  const isTooFull = usedBytes > rules.diskHighWatermark * disk.totalBytes;
  const excessBytes = isTooFull ? usedBytes - rules.diskLowWatermark * disk.totalBytes : 0;
  const leftovers = planLeftovers(inventory, nowMs - rules.partialMaxAgeMs, excessBytes);
  const missing = excessBytes - sum(leftovers.map((name) => inventory.bytes.get(name) ?? 0));
  const images = planImages(inventory, nowMs - rules.imageMinAgeMs, missing);
  return { images, leftovers };
}

function planLeftovers(inventory: Inventory, oldAtMs: number, excessBytes: number): string[] {
  const sorted = inventory.leftovers.toSorted((a, b) => a.writtenAtMs - b.writtenAtMs);
  const planned: string[] = [];
  let freed = 0;
  for (const { name, writtenAtMs } of sorted) {
    if (writtenAtMs > oldAtMs && freed >= excessBytes) break;
    freed += inventory.bytes.get(name) ?? 0;
    planned.push(name);
  }
  return planned;
}

function planImages(inventory: Inventory, usedBefore: number, excessBytes: number): Digest[] {
  const users = countUsers(inventory.images);
  const unused = inventory.images
    .filter((image) => !image.isUsed && image.lastUsedAtMs <= usedBefore)
    .sort((a, b) => a.lastUsedAtMs - b.lastUsedAtMs || (a.id < b.id ? -1 : 1));
  const planned: Digest[] = [];
  let freed = 0;
  for (const image of unused) {
    if (freed >= excessBytes) break;
    for (const name of new Set(image.data)) {
      const left = (users.get(name) ?? 0) - 1;
      users.set(name, left);
      if (left === 0) freed += inventory.bytes.get(name) ?? 0;
    }
    planned.push(image.id);
  }
  return planned;
}

function countUsers(images: readonly InventoryImage[]): Map<string, number> {
  const users = new Map<string, number>();
  for (const { data } of images) {
    for (const name of new Set(data)) users.set(name, (users.get(name) ?? 0) + 1);
  }
  return users;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
