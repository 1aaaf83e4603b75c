import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import { digestOfHex } from '../../../../runtime/core/digest.js';
import {
  layeredHistory,
  parseImageAbout,
  type HistoryStep,
} from '../../../../runtime/core/image-about.js';

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const A = digestOfHex('a'.repeat(64));
const B = digestOfHex('b'.repeat(64));

function step(createdBy: string, isEmptyLayer = false): HistoryStep {
  return { created: '', createdBy, comment: '', isEmptyLayer };
}

describe('what an image says of itself', () => {
  it('is read where it is there', () => {
    const about = parseImageAbout(
      bytes({
        author: 'A. Uthor',
        variant: 'v8',
        config: { Shell: ['/bin/bash', '-c'] },
        history: [
          { created: '2024-01-02T03:04:05Z', created_by: 'ADD file' },
          { created_by: 'CMD ["sh"]', empty_layer: true, comment: 'no files' },
        ],
      }),
      'web',
    );
    assert.deepEqual(about, {
      author: 'A. Uthor',
      comment: '',
      dockerVersion: '',
      variant: 'v8',
      shell: ['/bin/bash', '-c'],
      history: [
        {
          created: '2024-01-02T03:04:05Z',
          createdBy: 'ADD file',
          comment: '',
          isEmptyLayer: false,
        },
        { created: '', createdBy: 'CMD ["sh"]', comment: 'no files', isEmptyLayer: true },
      ],
    });
  });

  it('is refused with the name of what is wrong', () => {
    assert.throws(() => parseImageAbout(bytes({ history: [3] }), 'web'), /web: history\[0\]/);
    assert.throws(() => parseImageAbout(bytes({ author: [] }), 'web'), /web: author/);
  });

  it('may be any JSON without harm', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          parseImageAbout(Buffer.from(text), 'web');
        } catch (error) {
          assert.ok(error instanceof HatobaError);
        }
      }),
    );
  });
});

describe('the history of layers', () => {
  it('puts a layer beside each step that made one', () => {
    const steps = layeredHistory([step('FROM'), step('ENV', true), step('COPY')], [A, B]);
    assert.deepEqual(
      steps.map((s) => [s.createdBy, s.diffId]),
      [
        ['FROM', A],
        ['ENV', undefined],
        ['COPY', B],
      ],
    );
  });

  it('shows every layer once, in order, whatever the steps say', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean()), fc.nat(10), (empties, count) => {
        const layers = Array.from({ length: count }, (_, i) =>
          digestOfHex(String(i).padStart(64, '0')),
        );
        const steps = layeredHistory(
          empties.map((isEmpty, i) => step(String(i), isEmpty)),
          layers,
        );
        assert.deepEqual(
          steps.flatMap((s) => s.diffId ?? []),
          layers,
        );
        assert.ok(steps.length >= empties.length);
      }),
    );
  });
});
