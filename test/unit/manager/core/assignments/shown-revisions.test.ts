import assert from 'node:assert/strict';
import fc from 'fast-check';
import { KernelRevision } from '../../../../../manager/core/assignments/kernel-revision.js';
import { ShownRevisions } from '../../../../../manager/core/assignments/shown-revisions.js';

describe('ShownRevisions', () => {
  const node = fc.constantFrom('n1', 'n2', 'n3', 'n4');
  const step = fc.oneof(
    fc.record({ node, revision: fc.nat(6) }),
    fc.record({ node, revision: fc.constant(undefined) }),
  );

  it('knows the least of all nodes, and who is behind, after any reports', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(7), (steps, asked) => {
        const shown = new ShownRevisions();
        const expected = new Map<string, number>();
        for (const { node, revision } of steps) {
          if (revision === undefined) {
            shown.delete(node);
            expected.delete(node);
          } else {
            shown.raise(node, revision);
            expected.set(node, Math.max(revision, expected.get(node) ?? 0));
          }
          assert.equal(shown.least, Math.min(...expected.values()));
        }
        const behind = [...expected].filter(([, r]) => r < asked).map(([id]) => id);
        assert.deepEqual(shown.behind(asked), behind.sort());
      }),
    );
  });
});

describe('KernelRevision', () => {
  type Step = ['looks', number, 'news' | 'same'] | ['confirms', number];
  const cases: readonly [string, readonly Step[], number][] = [
    ['is not known before the first message', [['confirms', 7]], 0],
    [
      'is what was confirmed',
      [
        ['looks', 3, 'news'],
        ['confirms', 3],
      ],
      3,
    ],
    [
      'takes in what changed nothing for the node',
      [
        ['looks', 3, 'news'],
        ['confirms', 3],
        ['looks', 9, 'same'],
      ],
      9,
    ],
    [
      'stays behind while news are on their way',
      [
        ['looks', 3, 'news'],
        ['confirms', 3],
        ['looks', 5, 'news'],
        ['looks', 9, 'same'],
      ],
      3,
    ],
    [
      'catches up with all that changed nothing since',
      [
        ['looks', 3, 'news'],
        ['looks', 5, 'news'],
        ['looks', 9, 'same'],
        ['confirms', 5],
      ],
      9,
    ],
    [
      'is that of an older message while a newer one is being applied',
      [
        ['looks', 3, 'news'],
        ['looks', 5, 'news'],
        ['confirms', 3],
      ],
      3,
    ],
    [
      'never goes back',
      [
        ['looks', 3, 'news'],
        ['confirms', 3],
        ['looks', 9, 'same'],
        ['looks', 10, 'news'],
      ],
      9,
    ],
    [
      'is nothing that this manager has not seen yet',
      [
        ['looks', 3, 'news'],
        ['confirms', 80],
      ],
      3,
    ],
  ];
  for (const [what, steps, expected] of cases) {
    it(what, () => {
      const kernel = new KernelRevision();
      for (const step of steps) {
        if (step[0] === 'looks') kernel.onLooked(step[1], step[2] === 'news');
        else kernel.onConfirmed(step[1]);
      }
      assert.equal(kernel.value, expected);
    });
  }
});
