import assert from 'node:assert/strict';
import { replicasText, serviceRow } from '../../../../cli/output/rows.js';
import type { ServiceMode } from '../../../../common/model/objects.js';
import { aService } from '../../../support/builders.js';

describe('how far a service has got, as it is listed', () => {
  const serviceStatus = { runningTasks: 1, desiredTasks: 2, completedTasks: 3 };
  const cases: readonly [ServiceMode, string][] = [
    [{ $case: 'replicated', value: { replicas: 2 } }, '1/2'],
    [{ $case: 'global', value: {} }, '1/2'],
    [
      { $case: 'replicatedJob', value: { totalCompletions: 10, maxConcurrent: 2 } },
      '1/2 (3/10 completed)',
    ],
    [{ $case: 'globalJob', value: {} }, '1/2 (3/5 completed)'],
  ];
  for (const [mode, text] of cases) {
    it(`${mode.$case}: ${text}`, () => {
      const row = serviceRow(aService({ serviceStatus, spec: { mode } }));
      assert.equal(replicasText(row), text);
      assert.deepEqual(row.replicas, { running: 1, desired: 2 });
    });
  }
});
