import assert from 'node:assert/strict';
import {
  networkWithDefaults,
  validateNetworkSpec,
} from '../../../../../manager/core/validate/network-spec.js';
import { NetworkSpec } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNetwork, snapshotOf, type Some } from '../../../../support/builders.js';

const MTU = 'com.docker.network.driver.mtu';
const VNI = 'com.docker.network.driver.overlay.vxlanid_list';

describe('network validation', () => {
  const snapshot = snapshotOf({
    networks: [
      aNetwork({ spec: { name: 'ingress', ingress: true } }),
      aNetwork({ spec: { name: 'backend' }, ipam: [{ subnet: '10.1.0.0/24' }] }),
    ],
  });

  function problemsOf(some: Some<NetworkSpec>): string[] {
    const spec = networkWithDefaults(NetworkSpec.fromPartial({ name: 'x', ...some }));
    return validateNetworkSpec(spec, snapshot).map((p) => `${p.path}: ${p.message}`);
  }

  const cases: readonly [string, Some<NetworkSpec>, (string | RegExp)[]][] = [
    ['a plain network', {}, []],
    ['a bridge network', { driver: 'bridge' }, []],
    ['a name taken', { name: 'backend' }, ['name: network backend exists already']],
    ['a name of every node', { name: 'bridge' }, [/^name: "bridge" is not a valid name/]],
    [
      'another driver',
      { driver: 'macvlan' },
      ['driver: driver "macvlan" is not offered: use overlay or bridge'],
    ],
    [
      'a predefined driver',
      { driver: 'none' },
      [/one network of driver none, named none: use that/],
    ],
    ['a second ingress network', { ingress: true }, [/ingress is the ingress network already/]],
    [
      'several subnets',
      {
        ipam: [
          { subnet: '10.2.0.0/24', gateway: '10.2.0.254' },
          { subnet: '10.3.0.0/16', ipRange: '10.3.1.0/24' },
        ],
      },
      [],
    ],
    [
      'subnets that overlap each other',
      { ipam: [{ subnet: '10.2.0.0/16' }, { subnet: '10.2.3.0/24' }] },
      ['ipam[1].subnet: 10.2.3.0/24 overlaps 10.2.0.0/16 of the same network'],
    ],
    [
      'no subnet',
      { ipam: [{ subnet: '10.2.0.1/24' }] },
      ['ipam[0].subnet: "10.2.0.1/24" is not a subnet: write 10.2.0.0/24'],
    ],
    ['a gateway alone', { ipam: [{ gateway: '10.2.0.1' }] }, [/need the subnet itself/]],
    [
      'a gateway and a range elsewhere',
      { ipam: [{ subnet: '10.2.0.0/24', gateway: '10.3.0.1', ipRange: '10.2.0.0/16' }] },
      [
        'ipam[0].gateway: "10.3.0.1" is not an address for a gateway in 10.2.0.0/24',
        'ipam[0].ipRange: 10.2.0.0/16 is not inside of 10.2.0.0/24',
      ],
    ],
    [
      'the broadcast address as gateway',
      { ipam: [{ subnet: '10.2.0.0/24', gateway: '10.2.0.255' }] },
      [/"10\.2\.0\.255" is not an address for a gateway/],
    ],
    [
      'a range of the gateway alone',
      { ipam: [{ subnet: '10.2.0.0/24', ipRange: '10.2.0.1/32' }] },
      [/10\.2\.0\.1\/32 has no address to give beside the gateway 10\.2\.0\.1/],
    ],
    ['a /31', { ipam: [{ subnet: '10.2.0.0/31' }] }, [/10\.2\.0\.0\/31 is too small: \/29/]],
    ['a /32', { ipam: [{ subnet: '10.2.0.0/32' }] }, [/10\.2\.0\.0\/32 is too small: \/29/]],
    ['everything', { ipam: [{ subnet: '0.0.0.0/0' }] }, [/too large/, /other purposes/]],
    ['loopback', { ipam: [{ subnet: '127.1.0.0/16' }] }, [/overlaps 127\.0\.0\.0\/8/]],
    ['an MTU too small', { mtuBytes: 500 }, ['mtuBytes: 500 is not between 576 and 65535']],
    ['an MTU that is no number', { options: { [MTU]: '1k' } }, [/options.*"1k" is not one number/]],
    ['two MTUs', { mtuBytes: 1400, options: { [MTU]: '1300' } }, [/"1300" is not .* elsewhere/]],
    ['a VNI of 25 bits', { vni: 2 ** 24 }, ['vni: 16777216 is not between 1 and 16777215']],
    ['several VNIs', { options: { [VNI]: '4097,4098' } }, [/"4097,4098" is not one number/]],
    ['a VNI without tunnels', { driver: 'bridge', vni: 9 }, [/driver bridge has no VNI/]],
  ];
  for (const [name, some, expected] of cases) {
    it(name, () => {
      const problems = problemsOf(some);
      assert.equal(problems.length, expected.length, problems.join('\n'));
      expected.forEach((e, i) => {
        if (typeof e === 'string') assert.equal(problems[i], e);
        else assert.match(problems[i] ?? '', e);
      });
    });
  }

  it('takes MTU and VNI from Docker’s options, too', () => {
    const options = { [MTU]: '1400', [VNI]: '4097' };
    const spec = networkWithDefaults(NetworkSpec.fromPartial({ name: 'x', options }));
    assert.deepEqual([spec.mtuBytes, spec.vni, spec.driver], [1400, 4097, 'overlay']);
    assert.deepEqual(networkWithDefaults(spec), spec);
    assert.deepEqual(validateNetworkSpec(spec, snapshot), []);
  });
});
