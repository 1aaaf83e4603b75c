import type { DiskUsage, DiskUsageResponse } from '../../proto/gen/hatoba/v1/engine.js';

/** Bytes on disk by member of a folder, and of the folder itself. */
export interface MeasuredGroup {
  readonly ownBytes: number;
  readonly members: ReadonlyMap<string, number>;
}

/** The folders of the engine, as they were measured. */
export interface MeasuredDisk {
  readonly layers: MeasuredGroup;
  readonly blobs: MeasuredGroup;
  readonly containers: readonly MeasuredGroup[];
  readonly volumes: MeasuredGroup;
  readonly partial: readonly MeasuredGroup[];
  readonly otherBytes: number;
}

/** Who uses what, by the names of the folders' members. */
export interface DiskFacts {
  readonly images: readonly {
    readonly layers: readonly string[];
    readonly blobs: readonly string[];
    readonly isUsed: boolean;
  }[];
  readonly containers: readonly { readonly id: string; readonly isRunning: boolean }[];
  readonly volumes: readonly { readonly name: string; readonly isUsed: boolean }[];
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/**
 * Where the space of the engine's folder goes. What could be given back is what no container uses,
 * as Docker counts: unused layers of images, ended containers, volumes nobody has.
 */
export function reportDisk(disk: MeasuredDisk, facts: DiskFacts): DiskUsageResponse {
  const used = facts.images.filter((image) => image.isUsed);
  const usedLayers = new Set(used.flatMap((image) => image.layers));
  const usedBlobs = new Set(used.flatMap((image) => image.blobs));
  const running = new Set(facts.containers.flatMap((c) => (c.isRunning ? [c.id] : [])));
  const usedVolumes = new Set(facts.volumes.flatMap((v) => (v.isUsed ? [v.name] : [])));
  const partial = disk.partial.flatMap(memberBytes);
  const shares = {
    images: {
      count: facts.images.length,
      active: used.length,
      sizeBytes: bytesOf(disk.layers),
      reclaimableBytes: bytesExcept(disk.layers, usedLayers),
    },
    blobs: {
      count: memberBytes(disk.blobs).length,
      active: [...disk.blobs.members.keys()].filter((name) => usedBlobs.has(name)).length,
      sizeBytes: bytesOf(disk.blobs),
      reclaimableBytes: bytesExcept(disk.blobs, usedBlobs),
    },
    containers: {
      count: facts.containers.length,
      active: running.size,
      sizeBytes: sum(disk.containers.map(bytesOf)),
      reclaimableBytes: sum(disk.containers.map((group) => bytesExcept(group, running))),
    },
    volumes: {
      count: facts.volumes.length,
      active: usedVolumes.size,
      sizeBytes: bytesOf(disk.volumes),
      reclaimableBytes: bytesExcept(disk.volumes, usedVolumes),
    },
    partial: {
      count: partial.length,
      active: 0,
      sizeBytes: sum(disk.partial.map(bytesOf)),
      reclaimableBytes: sum(partial),
    },
    other: { count: 0, active: 0, sizeBytes: disk.otherBytes, reclaimableBytes: 0 },
  } satisfies Record<string, DiskUsage>;
  return {
    ...shares,
    totalBytes: sum(Object.values(shares).map((share) => share.sizeBytes)),
    diskFreeBytes: facts.freeBytes,
    diskTotalBytes: facts.totalBytes,
  };
}

function bytesOf(group: MeasuredGroup): number {
  return group.ownBytes + sum(memberBytes(group));
}

function bytesExcept(group: MeasuredGroup, used: ReadonlySet<string>): number {
  return sum([...group.members].map(([name, bytes]) => (used.has(name) ? 0 : bytes)));
}

function memberBytes(group: MeasuredGroup): number[] {
  return [...group.members.values()];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
