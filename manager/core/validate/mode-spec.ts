import type { ServiceMode, ServiceSpec } from '../../../common/model/objects.js';
import { isGlobalMode, isJobMode } from '../../../common/model/service-modes.js';
import { UpdateConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { defaultUpdateConfig } from '../../../proto/wire/check.js';
import { equalData } from '../equal.js';
import type { Problems } from './problem.js';

/** Against a slip of the finger: a service of more would only fill the store. */
export const MAX_REPLICAS = 100_000;

const WORDS = {
  replicated: 'replicated',
  global: 'global',
  replicatedJob: 'replicated-job',
  globalJob: 'global-job',
} as const;

/** @param before the mode of the service, if it exists already */
export function checkMode(
  spec: ServiceSpec,
  before: ServiceMode | undefined,
  problems: Problems,
): void {
  const { mode } = spec;
  if (before !== undefined && before.$case !== mode.$case) {
    problems
      .at('mode')
      .add(
        `a ${WORDS[before.$case]} service cannot become ${WORDS[mode.$case]}: ` +
          'remove it and create it anew',
      );
  }
  checkNumbers(mode, problems.at('mode'));
  if (isJobMode(mode)) checkJob(spec, problems);
  if (mode.$case !== 'replicated') checkRebalance(spec, problems);
  if (isGlobalMode(mode)) checkGlobal(spec, problems);
}

function checkNumbers(mode: ServiceMode, problems: Problems): void {
  if (mode.$case === 'replicated') {
    checkCount(mode.value.replicas, MAX_REPLICAS, problems.at('replicas'));
  } else if (mode.$case === 'replicatedJob') {
    checkCount(mode.value.maxConcurrent, MAX_REPLICAS, problems.at('maxConcurrent'));
    checkCount(mode.value.totalCompletions, MAX_REPLICAS, problems.at('totalCompletions'));
  }
}

/** Jobs are not updated but run again. */
function checkJob(spec: ServiceSpec, problems: Problems): void {
  const none = [UpdateConfig.fromPartial({}), defaultUpdateConfig()];
  for (const field of ['updateConfig', 'rollbackConfig'] as const) {
    problems.at(field).require(
      none.some((config) => equalData(spec[field], config)),
      'a job takes none: each change of its spec runs it again from the beginning',
    );
  }
}

function checkRebalance({ rebalance, mode }: ServiceSpec, problems: Problems): void {
  problems
    .at('rebalance')
    .require(!rebalance, `tasks of a ${WORDS[mode.$case]} service are never moved for balance`);
}

/** What chooses between nodes has no meaning where each of them has its task. */
function checkGlobal({ taskTemplate: { placement }, mode }: ServiceSpec, problems: Problems): void {
  problems
    .at('taskTemplate.placement.maxReplicas')
    .require(
      placement.maxReplicas === 0,
      `a ${WORDS[mode.$case]} service has one task on each node in any case`,
    );
}

export function checkCount(value: number, max: number, problems: Problems): void {
  problems.require(
    Number.isInteger(value) && value >= 0 && value <= max,
    `${value} is not between 0 and ${max}`,
  );
}
