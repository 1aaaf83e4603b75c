import assert from 'node:assert/strict';
import { digestOfHex, type Digest } from '../../../../runtime/core/digest.js';
import { dataInUse } from '../../../../runtime/core/unused-data.js';

const d = (letter: string): Digest => digestOfHex(letter.repeat(64));

describe('data that must stay', () => {
  it('is that of images and containers, and the blob behind each layer that stays', () => {
    const inUse = dataInUse(
      [{ id: d('1'), manifests: [d('2')], layerBlobs: [d('3')], diffIds: [d('a')] }],
      [
        { diffId: d('a'), blob: d('4') }, // came with another image
        { diffId: d('b'), blob: d('5') }, // below a container
        { diffId: d('c'), blob: d('6') },
        { diffId: d('e'), blob: undefined },
      ],
      [d('b')],
    );
    assert.deepEqual([...inUse.layers].sort(), [d('a'), d('b')]);
    assert.deepEqual([...inUse.blobs].sort(), ['1', '2', '3', '4', '5'].map(d));
  });
});
