import assert from 'node:assert/strict';
import { planNetwork } from '../../../../../manager/core/network/plan-network.js';
import { NetworkGrants } from '../../../../../manager/core/allocator/network-grants.js';
import { networkWithDefaults } from '../../../../../manager/core/validate/network-spec.js';
import { NetworkSpec } from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aCluster,
  aNetwork,
  aNode,
  snapshotOf,
  T0,
  type Some,
  type SnapshotContent,
} from '../../../../support/builders.js';

function plan(content: SnapshotContent, some: Some<NetworkSpec> = {}) {
  const spec = networkWithDefaults(NetworkSpec.fromPartial({ name: 'x', ...some }));
  return planNetwork(snapshotOf(content), spec, { nowMs: T0, newId: () => 'id-x' });
}

const small = (pools: string[], size = 26) =>
  aCluster({ spec: { defaultAddressPools: pools, subnetSize: size } });

describe('a new network', () => {
  it('has all its subnets and a number from the start', () => {
    const ipam = [{ subnet: '10.5.0.0/24', gateway: '10.5.0.9' }, { subnet: '10.6.0.0/24' }];
    const { network, problems } = plan({ cluster: aCluster() }, { ipam });
    assert.deepEqual(problems, []);
    assert.deepEqual(network.ipam, [
      { subnet: '10.5.0.0/24', gateway: '10.5.0.9', ipRange: '' },
      { subnet: '10.6.0.0/24', gateway: '10.6.0.1', ipRange: '' },
    ]);
    assert.equal(network.vni, 4096);
  });

  it('of driver bridge has a subnet of the cluster, but no number', () => {
    const { network } = plan({ cluster: aCluster() }, { driver: 'bridge' });
    assert.equal(network.ipam[0]?.subnet, '10.128.0.0/24');
    assert.equal(network.vni, 0);
  });

  it('keeps clear of where the nodes’ own routes lead', () => {
    const hostSubnets = ['10.128.0.0/17', '10.128.128.0/24'];
    const nodes = [aNode({ description: { hostSubnets } })];
    const { network } = plan({ cluster: aCluster(), nodes });
    assert.equal(network.ipam[0]?.subnet, '10.128.129.0/24');
  });

  it('is told with numbers when the pools are exhausted', () => {
    const networks = ['a', 'b', 'c'].map((name, i) =>
      aNetwork({ spec: { name }, ipam: [{ subnet: `10.200.0.${i * 64}/26` }], vni: 5000 + i }),
    );
    const nodes = [aNode({ description: { hostSubnets: ['10.200.0.192/28'] } })];
    const { problems } = plan({ cluster: small(['10.200.0.0/24']), networks, nodes });
    assert.deepEqual(
      problems.map((p) => [p.path, p.kind, p.message]),
      [
        [
          'ipam',
          'resource-exhausted',
          'no /26 is left in the address pools 10.200.0.0/24 (room for 4: 3 used by networks, 1 kept ' +
            'clear of for routes of the nodes, 0 free): remove networks that are not needed, or name ' +
            'a subnet elsewhere',
        ],
      ],
    );
  });

  it('has the number it asks for, unless another has it', () => {
    const networks = [
      aNetwork({ spec: { name: 'a' }, vni: 77, ipam: [{ subnet: '10.1.0.0/24' }] }),
    ];
    assert.equal(plan({ networks }, { vni: 78 }).network.vni, 78);
    const [problem] = plan({ networks }, { vni: 77 }).problems;
    assert.equal(problem?.message, 'VNI 77 is that of network a');
    assert.equal(problem.kind, 'already-exists');
  });

  it('says all that is in its way', () => {
    const networks = [
      aNetwork({ spec: { name: 'a' }, vni: 77, ipam: [{ subnet: '10.1.0.0/24' }] }),
    ];
    const nodes = [aNode({ description: { hostSubnets: ['10.2.0.0/16'] } })];
    const ipam = [{ subnet: '10.1.0.0/16' }, { subnet: '10.2.1.0/24' }];
    const { problems } = plan({ networks, nodes }, { vni: 77, ipam });
    assert.deepEqual(
      problems.map((p) => `${p.path} ${p.kind}`),
      ['ipam[0].subnet already-exists', 'ipam[1].subnet failed-precondition', 'vni already-exists'],
    );
  });

  it('counts for those that are made with it', () => {
    const snapshot = snapshotOf({ cluster: small(['10.200.0.0/25']) });
    const grants = new NetworkGrants(snapshot);
    const made = ['a', 'b', 'c'].map((name) => {
      const spec = networkWithDefaults(NetworkSpec.fromPartial({ name }));
      return planNetwork(snapshot, spec, { nowMs: T0, newId: () => name }, grants);
    });
    assert.deepEqual(
      made.map((m) => m.network.ipam[0]?.subnet ?? m.problems[0]?.kind),
      ['10.200.0.0/26', '10.200.0.64/26', 'resource-exhausted'],
    );
  });
});
