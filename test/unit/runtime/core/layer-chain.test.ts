import assert from 'node:assert/strict';
import fc from 'fast-check';
import { toDigest } from '../../../../runtime/core/digest.js';
import { layerChain, layerIdOf } from '../../../../runtime/core/layer-chain.js';

const digest = (letter: string) => toDigest(`sha256:${letter.repeat(64)}`);

/** A layer as overlayfs sees it: names it shows, and names it hides of those below. */
interface Layer {
  shows: string[];
  hides: string[];
}

/** What a stack of layers shows: each name with the layer it comes from. */
function merged(layers: readonly Layer[]): Map<string, Layer> {
  const names = new Map<string, Layer>();
  for (const layer of layers) {
    for (const name of layer.hides) names.delete(name);
    for (const name of layer.shows) names.set(name, layer);
  }
  return names;
}

describe('layer chains', () => {
  it('keeps the order, bottom first', () => {
    const ids = ['a', 'b', 'c'].map(digest);
    assert.deepEqual(layerChain(ids), ids.map(layerIdOf));
  });

  it('keeps the topmost place of a layer that is repeated', () => {
    const chain = layerChain(['a', 'b', 'a', 'c', 'b'].map(digest));
    assert.deepEqual(chain, ['a', 'c', 'b'].map(digest).map(layerIdOf));
  });

  it('shows the same files as the whole stack, each layer once', () => {
    const names = fc.uniqueArray(fc.constantFrom('f', 'g', 'h'), { maxLength: 3 });
    const letters = ['a', 'b', 'c', 'd'];
    fc.assert(
      fc.property(
        fc.array(fc.record({ shows: names, hides: names }), { minLength: 4, maxLength: 4 }),
        fc.array(fc.nat(3), { maxLength: 10 }),
        (layers, stack) => {
          const byId = new Map(layers.map((l, i) => [layerIdOf(digest(letters[i] ?? '')), l]));
          const chain = layerChain(stack.map((i) => digest(letters[i] ?? '')));
          assert.equal(new Set(chain).size, chain.length);
          const whole = stack.flatMap((i) => layers[i] ?? []);
          const short = chain.flatMap((id) => byId.get(id) ?? []);
          assert.deepEqual(merged(short), merged(whole));
        },
      ),
    );
  });
});
