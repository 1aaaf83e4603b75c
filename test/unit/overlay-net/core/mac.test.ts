import assert from 'node:assert/strict';
import fc from 'fast-check';
import { bridgeMac, endpointMac } from '../../../../overlay-net/core/mac.js';

describe('mac', () => {
  it('is the documented function of address, index and VNI', () => {
    assert.equal(endpointMac('10.0.1.7'), '02:42:0a:00:01:07');
    assert.equal(bridgeMac(3, 0x1001), '06:00:03:00:10:01');
  });

  it('gives every pair of node and network a bridge MAC of its own, unicast and local', () => {
    const pair = fc.tuple(
      fc.integer({ min: 1, max: 65535 }),
      fc.integer({ min: 1, max: 2 ** 24 - 1 }),
    );
    fc.assert(
      fc.property(pair, pair, (a, b) => {
        const same = a[0] === b[0] && a[1] === b[1];
        assert.equal(bridgeMac(...a) === bridgeMac(...b), same);
        assert.equal(parseInt(bridgeMac(...a).slice(0, 2), 16) & 3, 2);
      }),
    );
  });

  it('refuses numbers that would not fit', () => {
    assert.throws(() => bridgeMac(0, 1));
    assert.throws(() => bridgeMac(65536, 1));
    assert.throws(() => bridgeMac(1, 2 ** 24));
  });
});
