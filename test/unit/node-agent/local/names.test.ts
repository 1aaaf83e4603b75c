import assert from 'node:assert/strict';
import { checkName, pickName } from '../../../../node-agent/local/names.js';
import { seededRandom } from '../../../support/seeded-random.js';

describe('names of containers', () => {
  it('are made up of two words, and are not taken', () => {
    const random = seededRandom(1);
    const taken = new Set<string>();
    for (let i = 0; i < 3000; i++) {
      const name = pickName(random, (candidate) => taken.has(candidate));
      assert.match(name, /^[a-z]+_[a-z]+\d*$/);
      assert.ok(!taken.has(name));
      assert.equal(checkName(name), name);
      taken.add(name);
    }
  });

  for (const name of ['', 'a', '-web', '.web', 'a b', 'a/b', 'wéb', 'x'.repeat(129), 'a\n']) {
    it(`refuse ${JSON.stringify(name.slice(0, 20))}`, () => {
      assert.throws(() => checkName(name), { kind: 'invalid-argument' });
    });
  }
});
