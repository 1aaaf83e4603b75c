import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { layersInUse } from '../../../../runtime/snapshot/layers-in-use.js';

const id = (letter: string): string => letter.repeat(64);

describe('the layers of containers', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'ht-layers-'));
    mkdirSync(join(root, 'snapshots'));
  });

  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  function writeSnapshot(container: string, text: string): void {
    mkdirSync(join(root, 'snapshots', container), { recursive: true });
    writeFileSync(join(root, 'snapshots', container, 'snapshot.json'), text);
  }

  it('are those of every snapshot, each once', async () => {
    writeSnapshot('one', JSON.stringify({ chain: [id('a'), id('b')], driver: 'overlay' }));
    writeSnapshot('two', JSON.stringify({ chain: [id('a'), id('c')], driver: 'copy' }));
    writeSnapshot('.staged-1', JSON.stringify({ chain: [id('d')] }));
    mkdirSync(join(root, 'snapshots', 'going'));
    writeFileSync(join(root, 'snapshots', '.empty'), '');
    const found = await layersInUse(root);
    assert.deepEqual(
      found.sort(),
      ['a', 'b', 'c', 'd'].map((letter) => `sha256:${id(letter)}`),
    );
  });

  it('are none where a snapshot is torn, and still those of the others', async () => {
    writeSnapshot('whole', JSON.stringify({ chain: [id('a')] }));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
        writeSnapshot('torn', text);
        assert.deepEqual(await layersInUse(root), [`sha256:${id('a')}`]);
      }),
      { numRuns: 50 },
    );
  });
});
