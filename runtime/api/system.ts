import type { DiskUsageResponse } from '../../proto/gen/hatoba/v1/engine.js';

export type { GarbageRules } from '../core/garbage-plan.js';

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

export interface EngineSystem {
  diskUsage(): Promise<EngineDiskUsage>;
  /** One round of garbage collection by the rules the engine was opened with. */
  collectGarbage(signal?: AbortSignal): Promise<{ removed: string[]; reclaimedBytes: number }>;
  /** @returns a function that ends the subscription */
  onEvent(listener: (event: EngineEvent) => void): () => void;
  /** The latest 1,000 since the engine was opened, oldest first. */
  recentEvents(): readonly EngineEvent[];
}
