import assert from 'node:assert/strict';
import {
  validateServiceSpec,
  withDefaults,
} from '../../../../../manager/core/validate/service-spec.js';
import type { ServiceSpec } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aService, snapshotOf, type Some } from '../../../../support/builders.js';

const GLOBAL = { $case: 'global', value: {} } as const;
const GLOBAL_JOB = { $case: 'globalJob', value: {} } as const;
const job = (totalCompletions: number, maxConcurrent = 0) =>
  ({ $case: 'replicatedJob', value: { totalCompletions, maxConcurrent } }) as const;

const CASES: readonly [string, Some<ServiceSpec>, string[]][] = [
  ['a global service', { mode: GLOBAL }, []],
  ['a global service that is updated', { mode: GLOBAL, updateConfig: { parallelism: 3 } }, []],
  ['a job', { mode: job(10, 2) }, []],
  ['a job that runs on each node', { mode: GLOBAL_JOB }, []],
  [
    'numbers of a job that cannot be',
    { mode: job(1e9, 1e6) },
    [
      'mode.maxConcurrent: 1000000 is not between 0 and 100000',
      'mode.totalCompletions: 1000000000 is not between 0 and 100000',
    ],
  ],
  [
    'jobs that are updated',
    { mode: job(3), updateConfig: { parallelism: 2 }, rollbackConfig: { delayMs: 5 } },
    [
      'updateConfig: a job takes none: each change of its spec runs it again from the beginning',
      'rollbackConfig: a job takes none: each change of its spec runs it again from the beginning',
    ],
  ],
  [
    'a choice of nodes where there is none',
    { mode: GLOBAL, rebalance: true, taskTemplate: { placement: { maxReplicas: 2 } } },
    [
      'rebalance: tasks of a global service are never moved for balance',
      'taskTemplate.placement.maxReplicas: a global service has one task on each node in any case',
    ],
  ],
  [
    'a job that is moved',
    { mode: job(1), rebalance: true },
    ['rebalance: tasks of a replicated-job service are never moved for balance'],
  ],
];

describe('modes of services, validated:', () => {
  for (const [name, some, expected] of CASES) {
    it(name, () => {
      const spec = withDefaults(aService({ spec: { name: 'web', ...some } }).spec);
      const problems = validateServiceSpec(spec, snapshotOf({}));
      assert.deepEqual(
        problems.map((p) => `${p.path}: ${p.message}`),
        expected,
      );
      assert.deepEqual(withDefaults(spec), spec);
    });
  }

  it('another mode than the service has', () => {
    const service = aService();
    const { spec } = aService({ spec: { mode: GLOBAL_JOB } });
    const snapshot = snapshotOf({ services: [service] });
    const [problem] = validateServiceSpec(spec, snapshot, { serviceId: service.id });
    assert.equal(
      problem?.message,
      'a replicated service cannot become global-job: remove it and create it anew',
    );
  });
});
