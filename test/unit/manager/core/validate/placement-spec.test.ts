import assert from 'node:assert/strict';
import {
  checkGeneric,
  checkPlacement,
} from '../../../../../manager/core/validate/placement-spec.js';
import { Problems } from '../../../../../manager/core/validate/problem.js';
import {
  TaintEffect,
  type DeepPartial,
  type TaskSpec,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aTask } from '../../../../support/builders.js';

function problemsOf(some: DeepPartial<TaskSpec>): string[] {
  const { spec } = aTask({ spec: some });
  const problems = new Problems();
  checkPlacement(spec, problems);
  checkGeneric(spec.resources.reservations.generic, problems.at('resources.reservations'));
  return problems.list.map((p) => `${p.path}: ${p.message}`);
}

const KNOWN =
  'node.id, node.hostname, node.role, node.ip, node.platform.os, node.platform.arch, node.labels.NAME, engine.labels.NAME';

describe('validation of placement', () => {
  const cases: readonly [string, DeepPartial<TaskSpec>, string[]][] = [
    ['nothing', {}, []],
    [
      'all that is right',
      {
        priority: -1000,
        resources: {
          reservations: {
            generic: [
              { kind: 'gpu', count: 1 },
              { kind: 'ssd', count: 2 },
            ],
          },
        },
        placement: {
          constraints: ['node.labels.zone in (a, b)', 'node.labels.disk exists'],
          preferences: [{ spreadDescriptor: 'node.labels.zone' }],
          affinities: [
            { expression: 'service==db', topology: 'node.labels.zone' },
            { expression: 'node.labels.disk==ssd', weight: 100 },
          ],
          spreads: [{ key: 'node.hostname', required: true }, { key: 'node.labels.zone' }],
          tolerations: [{}, { key: 'gpu', effect: TaintEffect.NO_EXECUTE, tolerationMs: 0 }],
        },
      },
      [],
    ],
    [
      'each mistake, all at once',
      {
        priority: 1001,
        placement: {
          constraints: ['node.id', 'node.labels.a==b'],
          preferences: [{ spreadDescriptor: 'zone' }],
          affinities: [{ expression: 'service~db', weight: 101 }],
          spreads: [{ key: 'zone' }, { key: 'node.id' }, { key: 'node.id' }],
          tolerations: [
            { value: 'yes' },
            { key: 'a', effect: TaintEffect.NO_SCHEDULE, tolerationMs: -1 },
          ],
        },
      },
      [
        'priority: 1001 is not between -1000 and 1000',
        'placement.constraints[0]: constraint "node.id" is not of the form KEY==VALUE, !=, <, >, "KEY in (A, B)", "KEY not in (A, B)", "KEY exists" or "not exists"',
        'placement.preferences[0].spreadDescriptor: "zone" is not of the form node.labels.NAME or engine.labels.NAME',
        'placement.affinities[0]: affinity "service~db" is not of the form service==NAME or service!=NAME',
        'placement.affinities[0].weight: 101 is not between 1 and 100, or 0 for a condition',
        `placement.spreads[0].key: "zone" is nothing to spread over (known are ${KNOWN})`,
        'placement.spreads[2].key: "node.id" is spread over twice',
        'placement.tolerations[0].key: the value "yes" needs the key of its taint',
        'placement.tolerations[1].tolerationMs: -1 must not be negative',
        'placement.tolerations[1].tolerationMs: only taints of effect no-execute can be tolerated for a time',
      ],
    ],
    [
      'generic resources',
      {
        resources: {
          reservations: {
            generic: [
              { kind: '', count: 1 },
              { kind: 'gpu', names: ['u1'] },
              { kind: 'gpu', count: 1 },
            ],
          },
        },
      },
      [
        'resources.reservations.generic[0].kind: "" is not the name of a kind of resource',
        'resources.reservations.generic[1].count: 0 is less than 1',
        'resources.reservations.generic[1].names: which ones a task gets is chosen when it is placed: reserve a count',
        'resources.reservations.generic[2].kind: "gpu" is reserved twice: add the counts up',
      ],
    ],
  ];
  for (const [name, spec, problems] of cases) {
    it(`of ${name}`, () => {
      assert.deepEqual(problemsOf(spec), problems);
    });
  }
});
