import type { Service, ServiceMode } from '../../../common/model/objects.js';

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
  return spec.mode.$case === 'global' || spec.mode.$case === 'globalJob';
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
