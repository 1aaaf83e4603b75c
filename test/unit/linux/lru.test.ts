import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Lru } from '../../../linux/lru.js';

describe('Lru', () => {
  it('ends the value used longest ago', () => {
    const ended: string[] = [];
    const lru = new Lru<string>(2, (value) => ended.push(value));
    lru.set('a', 'A');
    lru.set('b', 'B');
    assert.equal(lru.get('a'), 'A');
    lru.set('c', 'C');
    assert.deepEqual(ended, ['B']);
    assert.equal(lru.get('b'), undefined);
    lru.set('a', 'A2');
    assert.deepEqual(ended, ['B', 'A']);
    lru.clear();
    assert.deepEqual(ended.sort(), ['A', 'A2', 'B', 'C']);
  });

  it('ends each value exactly once and never holds too many', () => {
    const action = fc.tuple(
      fc.constantFrom('get', 'set', 'delete'),
      fc.integer({ min: 0, max: 6 }),
    );
    fc.assert(
      fc.property(fc.array(action), fc.integer({ min: 1, max: 4 }), (actions, capacity) => {
        const open = new Set<number>();
        let next = 0;
        const lru = new Lru<number>(capacity, (value) => assert.ok(open.delete(value)));
        for (const [verb, key] of actions) {
          if (verb === 'get') lru.get(`${key}`);
          else if (verb === 'delete') lru.delete(`${key}`);
          else {
            open.add(++next);
            lru.set(`${key}`, next);
            assert.equal(lru.get(`${key}`), next);
          }
          assert.ok(open.size <= capacity);
        }
        lru.clear();
        assert.equal(open.size, 0);
      }),
    );
  });
});
