import { isKind } from '../../common/errors.js';
import type { Containers, ContainerState, Pruned } from '../engine.js';

export interface PruneOptions {
  olderThanMs?: number;
  labels?: Record<string, string>;
}

/** Removes those that have ended, or were never started, that long ago; see Containers.prune. */
export async function pruneContainers(
  options: PruneOptions,
  nowMs: number,
  containers: Pick<Containers, 'list' | 'sizeRw' | 'remove'>,
): Promise<Pruned> {
  const pruned: Pruned = { removed: [], reclaimedBytes: 0 };
  for (const state of containers.list().filter((s) => isToGo(s, options, nowMs))) {
    const { id } = state.config;
    try {
      const bytes = await containers.sizeRw(id);
      await containers.remove(id);
      pruned.removed.push(id);
      pruned.reclaimedBytes += bytes;
    } catch (error) {
      // Started, or removed by somebody else, since the list was made.
      if (!isKind(error, 'failed-precondition', 'not-found')) throw error;
    }
  }
  return pruned;
}

function isToGo(
  { status, config, createdAtMs, finishedAtMs }: ContainerState,
  { olderThanMs = 0, labels = {} }: PruneOptions,
  nowMs: number,
): boolean {
  if (status !== 'exited' && status !== 'created') return false;
  if (nowMs - (finishedAtMs ?? createdAtMs) < olderThanMs) return false;
  return Object.entries(labels).every(([name, value]) => config.labels[name] === value);
}
