import type { Service } from '../../../common/model/objects.js';
import type { JobStatus } from '../../../proto/gen/hatoba/v1/types.js';
import { isJob } from '../../../common/model/service-modes.js';

/**
 * The service about to run, if it is a job: in its first iteration, or another one. A job rolls to
 * nothing, so it has no status of an update.
 */
export function withNextIteration(service: Service, nowMs: number): Service {
  if (!isJob(service)) return service;
  const jobStatus: JobStatus = {
    iteration: (service.jobStatus?.iteration ?? 0) + 1,
    lastExecutionMs: nowMs,
  };
  return { ...service, jobStatus, updateStatus: undefined };
}
