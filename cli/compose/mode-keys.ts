import type { ServiceSpec } from '../../common/model/objects.js';
import { isGlobalMode, isJobMode } from '../../common/model/service-modes.js';
import type { Value } from './reader.js';

/** The keys of `deploy:` that belong together, in whatever order they stand in the file. */
export interface ModeKeys {
  mode?: Value;
  /** Of a replicated job: how often it is to complete, as with `docker service create`. */
  replicas?: Value;
  /** How many tasks of a replicated job run at once; all of them if absent. */
  maxConcurrent?: Value;
  /** `update_config` and `rollback_config`. */
  readonly updates: Value[];
}

export function readMode(keys: ModeKeys, spec: ServiceSpec): void {
  spec.mode = modeOf(keys);
  if (isGlobalMode(spec.mode)) {
    keys.replicas?.problem('a global service has one task on each node, no number of replicas');
  }
  if (spec.mode.$case !== 'replicatedJob') {
    keys.maxConcurrent?.problem('only a "replicated-job" has tasks that wait for others');
  }
  if (!isJobMode(spec.mode)) return;
  for (const value of keys.updates) {
    value.problem('a job is not updated: each change of it runs it again from the beginning');
  }
}

function modeOf({ mode, replicas, maxConcurrent }: ModeKeys): ServiceSpec['mode'] {
  const count = replicas?.integer() ?? 1;
  switch (mode?.oneOf(['replicated', 'global', 'replicated-job', 'global-job'])) {
    case 'global':
      return { $case: 'global', value: {} };
    case 'global-job':
      return { $case: 'globalJob', value: {} };
    case 'replicated-job': {
      const value = { totalCompletions: count, maxConcurrent: maxConcurrent?.integer() ?? 0 };
      return { $case: 'replicatedJob', value };
    }
    default:
      return { $case: 'replicated', value: { replicas: count } };
  }
}
