import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  firstAddress,
  formatAddress,
  formatCidr,
  nextAddress,
  nextSubnet,
  parseAddress,
  parseCidr,
  poolUsage,
  subnetContains,
  subnetOf,
  subnetOverlaps,
  type Cidr,
} from '../../../../overlay-net/core/ipam.js';

const anyAddress = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const anySubnet = (min: number, max: number): fc.Arbitrary<Cidr> =>
  fc.tuple(anyAddress, fc.integer({ min, max })).map(([a, p]) => subnetOf(a, p));

describe('ipam', () => {
  it('reads and writes every address and subnet', () => {
    fc.assert(fc.property(anyAddress, (a) => parseAddress(formatAddress(a)) === a));
    fc.assert(
      fc.property(anySubnet(0, 32), (s) => {
        assert.deepEqual(parseCidr(formatCidr(s)), s);
      }),
    );
  });

  for (const text of ['10.0.0.0', '10.0.0/24', '10.0.0.0/33', '10.0.0.256/24', '010.0.0.0/8', '']) {
    it(`refuses "${text}"`, () => {
      assert.throws(() => parseCidr(text), { kind: 'invalid-argument' });
    });
  }

  it('names the right subnet when bits are set past the prefix', () => {
    assert.throws(() => parseCidr('10.0.1.7/24'), { message: /write 10\.0\.1\.0\/24/ });
  });

  it('cuts subnets from the pools that overlap neither one another nor what is used', () => {
    const cases = fc.record({
      pools: fc.array(anySubnet(8, 20), { minLength: 1, maxLength: 3 }),
      used: fc.array(anySubnet(12, 28), { maxLength: 6 }),
      wanted: fc.array(fc.integer({ min: 20, max: 28 }), { maxLength: 20 }),
    });
    fc.assert(
      fc.property(cases, ({ pools, used, wanted }) => {
        const given: Cidr[] = [];
        for (const prefixLength of wanted) {
          const next = nextSubnet(pools, prefixLength, [...used, ...given]);
          if (next === undefined) continue;
          assert.equal(next.prefixLength, prefixLength);
          assert.ok(![...used, ...given].some((u) => subnetOverlaps(u, next)));
          assert.ok(pools.some((p) => subnetContains(p, formatAddress(next.base))));
          given.push(next);
        }
      }),
    );
  });

  it('uses a pool to its last subnet and then says so', () => {
    const pools = [parseCidr('10.0.0.0/22')];
    const given: Cidr[] = [];
    for (let i = 0; i < 4; i++) {
      const next = nextSubnet(pools, 24, given);
      assert.ok(next);
      given.push(next);
    }
    assert.deepEqual(given.map(formatCidr), [
      '10.0.0.0/24',
      '10.0.1.0/24',
      '10.0.2.0/24',
      '10.0.3.0/24',
    ]);
    assert.equal(nextSubnet(pools, 24, given), undefined);
    assert.equal(formatCidr(nextSubnet(pools, 24, [given[1] as Cidr]) as Cidr), '10.0.0.0/24');
  });

  it('aligns a large subnet behind small ones', () => {
    const next = nextSubnet([parseCidr('10.0.0.0/16')], 20, [parseCidr('10.0.0.64/28')]);
    assert.equal(next && formatCidr(next), '10.0.16.0/20');
  });

  it('never leases one address twice, and leases all but network and broadcast', () => {
    const steps = fc.array(fc.oneof(fc.constant('take'), fc.constant('next'), fc.nat(20)), {
      maxLength: 80,
    });
    fc.assert(
      fc.property(anySubnet(26, 32), steps, (subnet, todo) => {
        const leased = new Set<string>();
        let from: string | undefined;
        for (const step of todo) {
          if (typeof step === 'number') {
            leased.delete([...leased][step] ?? '');
            continue;
          }
          const options = step === 'next' && from !== undefined ? { from } : {};
          const address = nextAddress(subnet, leased, options);
          const usage = poolUsage(subnet, leased);
          assert.equal(address === undefined, usage.free === 0);
          if (address === undefined) continue;
          assert.ok(!leased.has(address));
          assert.ok(subnetContains(subnet, address));
          leased.add(address);
          from = address;
        }
        assert.equal(poolUsage(subnet, leased).used, leased.size);
      }),
    );
  });

  it('gives lowest-free addresses, or the next behind the last one', () => {
    const subnet = parseCidr('10.0.1.0/29');
    const used = new Set(['10.0.1.1', '10.0.1.2', '10.0.1.4']);
    assert.equal(firstAddress(subnet), '10.0.1.1');
    assert.equal(nextAddress(subnet, used), '10.0.1.3');
    assert.equal(nextAddress(subnet, used, { from: '10.0.1.3' }), '10.0.1.5');
    assert.equal(nextAddress(subnet, used, { from: '10.0.1.6' }), '10.0.1.3');
    assert.deepEqual(poolUsage(subnet, [...used, '10.9.9.9', '10.0.1.4']), {
      total: 6,
      used: 3,
      free: 3,
    });
  });
});
