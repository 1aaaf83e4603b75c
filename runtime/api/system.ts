import type { DiskUsageResponse } from '../../proto/gen/hatoba/v1/engine.js';

/** Where the disk space of the engine's folder goes; sums up to what `du -s` says. */
export type EngineDiskUsage = DiskUsageResponse;

export interface EngineEvent {
  timeMs: number;
  type: 'container' | 'image' | 'volume';
  /** As Docker's: create, start, die, oom, health_status: healthy, pull, tag, untag, destroy … */
  action: string;
  id: string;
  attributes: Readonly<Record<string, string>>;
}

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

export interface EngineSystem {
  diskUsage(): Promise<EngineDiskUsage>;
  /** One round of garbage collection by the rules the engine was opened with. */
  collectGarbage(signal?: AbortSignal): Promise<{ removed: string[]; reclaimedBytes: number }>;
  /** @returns a function that ends the subscription */
  onEvent(listener: (event: EngineEvent) => void): () => void;
  /** The latest 1,000 since the engine was opened, oldest first. */
  recentEvents(): readonly EngineEvent[];
}
