import assert from 'node:assert/strict';
import { formatListing } from '../../../../cli/output/listing.js';
import { REVISIONS, revisionRow, rolloutLine } from '../../../../cli/output/revisions.js';
import { specDiff } from '../../../../cli/output/spec-diff.js';
import type { Service } from '../../../../common/model/objects.js';
import { TaskState, UpdateOrder, UpdateState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aRevision, aService, aTask, type Some } from '../../../support/builders.js';

describe('the history of a rollout', () => {
  it('lists revisions with their causes, the present one marked', () => {
    const service = aService({ specVersion: 2 });
    const rows = [aRevision(service, { cause: 'updated' }), aRevision(service, { number: 1 })].map(
      revisionRow,
    );
    const options = { quiet: false, filter: [], output: 'table' } as const;
    const lines = formatListing(rows, REVISIONS, options).split('\n');
    assert.match(lines[0] ?? '', /^REVISION +CREATED +CAUSE +IMAGE$/);
    assert.match(lines[1] ?? '', /^2 \(present\) +\d+ days ago +updated +web:1$/);
    assert.match(lines[2] ?? '', /^1 +\d+ days ago +created +web:1$/);
    assert.equal(formatListing(rows, REVISIONS, { ...options, quiet: true }), '2\n1');
    assert.deepEqual(rows[1], {
      ...{ revision: 1, createdAt: '2023-11-14T22:13:20.000Z', cause: 'created' },
      ...{ image: 'web:1', present: false },
    });
  });
});

describe('the status of a rollout', () => {
  const { UPDATING, PAUSED, COMPLETED, ROLLBACK_STARTED } = UpdateState;
  const at = (state?: UpdateState, message = ''): Service =>
    aService({
      specVersion: 3,
      serviceStatus: { runningTasks: 2, desiredTasks: 3 },
      updateStatus: state === undefined ? undefined : { state, message },
    });
  const running = (specVersion: number, slot: number): ReturnType<typeof aTask> =>
    aTask({ slot, specVersion, status: { state: TaskState.RUNNING } });
  const tasks = [running(3, 1), running(2, 2), aTask({ slot: 3, specVersion: 3 })];
  const cases: readonly [string, Service, string][] = [
    ['without an update', at(), 'web: revision 3, 2/3 running'],
    [
      'under way',
      at(UPDATING, 'update in progress'),
      'web: revision 3, updating (update in progress): 1 of 3 tasks run this revision, 2/3 running',
    ],
    [
      'paused',
      at(PAUSED, 'paused by request'),
      'web: revision 3, paused (paused by request): 1 of 3 tasks run this revision, 2/3 running',
    ],
    [
      'on its way back',
      at(ROLLBACK_STARTED, 'rollback requested'),
      'web: revision 3, rollback started (rollback requested): 1 of 3 tasks run this revision, 2/3 running',
    ],
    ['over', at(COMPLETED, 'update completed'), 'web: revision 3, update completed, 2/3 running'],
  ];
  for (const [what, service, expected] of cases) {
    it(what, () => {
      assert.equal(rolloutLine(service, tasks), expected);
    });
  }
});

describe('the difference of two specs', () => {
  const spec = (some: Some<Service['spec']>): Service['spec'] => aService({ spec: some }).spec;
  const image = (name: string): Some<Service['spec']> => ({
    taskTemplate: { containerSpec: { image: name } },
  });
  const env = (...lines: string[]): Some<Service['spec']> => ({
    taskTemplate: { containerSpec: { image: 'web:1', env: lines } },
  });
  const replicas = (n: number): Some<Service['spec']> => ({
    mode: { $case: 'replicated', value: { replicas: n } },
  });
  const port = (publishedPort: number): Some<Service['spec']> => ({
    endpointSpec: { ports: [{ targetPort: 80, publishedPort }] },
  });
  const cases: readonly [string, Some<Service['spec']>, Some<Service['spec']>, string[]][] = [
    ['nothing', {}, {}, []],
    [
      'another image',
      image('web:1'),
      image('web:2'),
      ['taskTemplate.containerSpec.image: web:1 → web:2'],
    ],
    [
      'variables',
      env('A=1', 'B=2'),
      env('B=2', 'A=3'),
      ['taskTemplate.containerSpec.env: − A=1', 'taskTemplate.containerSpec.env: + A=3'],
    ],
    [
      'the order of variables',
      env('A=1', 'B=2'),
      env('B=2', 'A=1'),
      ['taskTemplate.containerSpec.env: A=1 B=2 → B=2 A=1'],
    ],
    ['the number of replicas', replicas(1), replicas(5), ['mode.replicas: 1 → 5']],
    [
      'the mode',
      replicas(1),
      { mode: { $case: 'global', value: {} } },
      ['mode: replicated → global', 'mode.replicas: 1 → none'],
    ],
    ['a label', { labels: { a: '1' } }, {}, ['labels.a: 1 → none']],
    [
      'a word of the model',
      {},
      { updateConfig: { order: UpdateOrder.START_FIRST, parallelism: 1, monitorMs: 5000 } },
      ['updateConfig.order: stop-first → start-first'],
    ],
    ['a port', port(80), port(81), ['endpointSpec.ports[0].publishedPort: 80 → 81']],
  ];
  for (const [what, before, after, expected] of cases) {
    it(`is ${what}`, () => {
      assert.deepEqual(specDiff(spec(before), spec(after)), expected);
    });
  }
});
