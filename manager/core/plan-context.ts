import type { Change, Plan } from './snapshot.js';

/** What a planner may know besides the snapshot. */
export interface PlanContext {
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** A new unique object id, see common/model/ids.ts. */
  readonly newId: () => string;
}

/** Nothing to do, and nothing to wait for. */
export const EMPTY_PLAN: Plan = { groups: [] };

/** As many changes as one group may hold, see Plan. */
export const MAX_GROUP_CHANGES = 50;

/** Groups of at most MAX_GROUP_CHANGES out of changes that need not be made together. */
export function chunkChanges(changes: readonly Change[]): Change[][] {
  const groups: Change[][] = [];
  for (let i = 0; i < changes.length; i += MAX_GROUP_CHANGES) {
    groups.push(changes.slice(i, i + MAX_GROUP_CHANGES));
  }
  return groups;
}
