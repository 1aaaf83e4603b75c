import type { Service, ServiceMode } from './objects.js';

type Moded = Pick<Service, 'spec'>;

/** Whether the service's tasks are to end, and well, rather than to run for ever. */
export function isJob({ spec }: Moded): boolean {
  return isJobMode(spec.mode);
}

export function isJobMode({ $case }: ServiceMode): boolean {
  return $case === 'replicatedJob' || $case === 'globalJob';
}

/** Whether the service has one task on each node that can take it. */
export function isGlobal({ spec }: Moded): boolean {
  return isGlobalMode(spec.mode);
}

export function isGlobalMode({ $case }: ServiceMode): boolean {
  return $case === 'global' || $case === 'globalJob';
}

/** How many tasks of a replicated job run at once at most. */
export function concurrencyOf(job: {
  readonly maxConcurrent: number;
  readonly totalCompletions: number;
}): number {
  return job.maxConcurrent === 0
    ? job.totalCompletions
    : Math.min(job.maxConcurrent, job.totalCompletions);
}

/** The mode with another number of tasks, or for a job of completions; undefined if it has none. */
export function scaledMode(mode: ServiceMode, replicas: number): ServiceMode | undefined {
  if (mode.$case === 'replicated') return { ...mode, value: { replicas } };
  if (mode.$case !== 'replicatedJob') return undefined;
  return { ...mode, value: { ...mode.value, totalCompletions: replicas } };
}

/** How many tasks of a job's present iteration are to end well, by what the managers count. */
export function completionsOf({
  spec,
  serviceStatus,
}: Pick<Service, 'spec' | 'serviceStatus'>): number {
  if (spec.mode.$case === 'replicatedJob') return spec.mode.value.totalCompletions;
  const { desiredTasks = 0, completedTasks = 0 } = serviceStatus ?? {};
  return desiredTasks + completedTasks; // of a global one, each node is to complete one
}
