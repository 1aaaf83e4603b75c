import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  bridgeNetwork,
  chooseSubnet,
  routedSubnets,
} from '../../../../node-agent/local/bridge-subnet.js';
import { lookAtHost } from '../../../../node-agent/local/host-network.js';
import { parseCidr, subnetOf, subnetOverlaps } from '../../../../overlay-net/core/ipam.js';

const WANTED = '172.30.0.0/16';

describe('the subnet of the bridge of a node', () => {
  it('is the wanted one where nothing uses it', () => {
    assert.equal(chooseSubnet(WANTED, [], []), WANTED);
    assert.equal(chooseSubnet(WANTED, [], routedSubnets(['default', '172.17.0.0/16'])), WANTED);
    const { subnets, vni, driver } = bridgeNetwork(WANTED, 1450);
    assert.deepEqual(subnets, [{ subnet: WANTED, gateway: '172.30.0.1' }]);
    assert.deepEqual({ vni, driver }, { vni: 0, driver: 'bridge' });
  });

  it('is the next free one elsewhere', () => {
    assert.equal(chooseSubnet(WANTED, [], routedSubnets(['172.30.5.0/24'])), '172.16.0.0/16');
    const used = routedSubnets(['172.16.0.0/12', '192.168.3.0/24']);
    assert.equal(chooseSubnet(WANTED, [], used), '10.0.0.0/16');
    assert.throws(() => chooseSubnet(WANTED, [], routedSubnets(['0.0.0.0/1', '128.0.0.0/1'])), {
      kind: 'resource-exhausted',
      message: /set bridgeSubnet to a smaller one/,
    });
  });

  it('stays that of the containers there are, whatever the machine has got since', () => {
    assert.equal(chooseSubnet(WANTED, ['172.16.0.9/16'], routedSubnets([WANTED])), '172.16.0.0/16');
  });

  it('overlaps nothing that is used', () => {
    const anySubnet = fc
      .tuple(fc.nat(2 ** 32 - 1), fc.integer({ min: 9, max: 32 }))
      .map(([address, length]) => subnetOf(address, length));
    fc.assert(
      fc.property(
        fc.array(anySubnet, { maxLength: 20 }),
        fc.integer({ min: 12, max: 29 }),
        (used, length) => {
          const chosen = parseCidr(chooseSubnet(`172.16.0.0/${length}`, [], used));
          assert.equal(chosen.prefixLength, length);
          assert.ok(!used.some((other) => subnetOverlaps(other, chosen)));
        },
      ),
    );
  });

  it('minds the routes and addresses of the machine, and not those of our own bridges', async () => {
    const link = { kind: 'bridge', mac: '', mtuBytes: 1400, up: true };
    const { subnets, mtuBytes } = await lookAtHost({
      links: () =>
        Promise.resolve([
          { ...link, index: 1, name: 'eth0' },
          { ...link, index: 2, name: 'hlac1e0000' },
          { ...link, index: 3, name: 'hb1001' },
        ]),
      routes: () =>
        Promise.resolve([
          { destination: 'default', via: '192.0.2.1', link: 1, table: 254 },
          { destination: '192.0.2.0/24', link: 1, table: 254 },
          { destination: WANTED, link: 2, table: 254 },
          { destination: '10.0.1.0/24', link: 3, table: 254 },
          { destination: '10.7.0.0/16', table: 254 },
        ]),
      addresses: () => Promise.resolve([{ link: 1, cidr: '192.0.2.9/24' }]),
    });
    assert.equal(mtuBytes, 1400);
    const expected = ['192.0.2.0/24', '10.7.0.0/16', '192.0.2.0/24'].map(parseCidr);
    assert.deepEqual(subnets, expected);
  });
});
