import assert from 'node:assert/strict';
import { UpstreamHealth } from '../../../../overlay-net/core/upstream-health.js';

describe('health of the resolvers', () => {
  const all = ['a', 'b', 'c'];

  it('keeps the order given while all answer', () => {
    const health = new UpstreamHealth();
    health.answered('c', 0);
    assert.deepEqual(health.order(all, 1), all);
    assert.deepEqual(health.order(['b', 'a', 'b'], 1), ['b', 'a']);
  });

  it('puts one that failed last, until one question has tried it again', () => {
    const health = new UpstreamHealth();
    health.failed('a', 0);
    assert.deepEqual(health.order(all, 9_999), ['b', 'c', 'a']);
    assert.deepEqual(health.order(all, 10_000), all, 'one tries it');
    assert.deepEqual(
      health.order(all, 10_001),
      ['b', 'c', 'a'],
      'the others wait for what it says',
    );
    health.answered('a', 10_002);
    assert.deepEqual(health.order(all, 10_003), all);
  });

  it('forgives a lost or slow answer, but not a second of silence', () => {
    const health = new UpstreamHealth();
    health.answered('a', 50);
    health.stayedSilent('a', 40, 400);
    health.stayedSilent('a', 100, 400);
    assert.deepEqual(health.order(all, 400), all);
    health.stayedSilent('a', 800, 1_099);
    assert.deepEqual(health.order(all, 1_099), all);
    health.stayedSilent('a', 800, 1_100);
    assert.deepEqual(health.order(all, 1_100), ['b', 'c', 'a']);
  });

  it('does not count silence before an answer', () => {
    const health = new UpstreamHealth();
    health.stayedSilent('a', 0, 400);
    health.answered('a', 500);
    health.stayedSilent('a', 600, 1_100);
    assert.deepEqual(health.order(all, 1_100), all);
  });

  it('remembers a bounded number of them', () => {
    const health = new UpstreamHealth();
    for (let i = 0; i <= 256; i++) health.failed(`10.0.0.${i}`, 0);
    assert.deepEqual(health.order(['10.0.0.1', '10.0.0.0'], 1), ['10.0.0.0', '10.0.0.1']);
  });
});
