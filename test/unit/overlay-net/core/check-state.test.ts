import assert from 'node:assert/strict';
import { isKind } from '../../../../common/errors.js';
import { checkSandbox, checkState } from '../../../../overlay-net/core/check-state.js';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { ingressPort, network, service } from '../../../integration/overlay-net/cluster.js';

const app = network('app', 1);
const subnets = (...all: string[]): typeof app.subnets =>
  all.map((subnet) => ({ subnet, gateway: subnet.replace(/\d+\/\d+$/, '1') }));
const peer = { nodeId: 'n1', index: 1, dataPathAddress: '192.0.2.1' };
const sound: NetworkState = {
  nodeId: 'n1',
  networks: [
    { ...app, subnets: subnets('10.128.1.0/24', '10.128.2.0/24') },
    network('own', 3, { driver: 'bridge', vni: 0 }),
    network('host', 1, { driver: 'host', subnets: [], vni: 0 }),
  ],
  endpoints: [],
  services: [service('app', 'web', '10.128.1.2', { ports: [ingressPort(80)] })],
  peers: [peer],
};

const portAt = (hostIp: string): NetworkState['services'] => [
  service('app', 'web', '', { ports: [{ ...ingressPort(80), hostIp }] }),
];

/** What is wrong with a state, and how it is named. */
const FAULTS: readonly (readonly [Partial<NetworkState>, RegExp])[] = [
  [{ networks: [{ ...app, subnets: [] }] }, /network app has no subnet/],
  [{ networks: [{ ...app, mtuBytes: 20 }] }, /network app \(app\): MTU 20 is not valid/],
  [{ networks: [{ ...app, vni: 0 }] }, /network app \(app\): VNI 0 is not valid/],
  [
    { networks: [app, network('b', 2, { vni: app.vni })] },
    /network b \(b\) has the VNI of network app/,
  ],
  [
    { networks: [{ ...app, subnets: subnets('10.128.0.0/23', '10.128.1.0/24') }] },
    /subnet 10\.128\.0\.0\/23 of network app \(app\) overlaps 10\.128\.1\.0\/24 of network app/,
  ],
  [
    {
      networks: [
        network('b', 1, { driver: 'bridge' }),
        { ...app, subnets: subnets('10.128.0.0/16') },
      ],
    },
    /subnet 10\.128\.0\.0\/16 of network app \(app\) overlaps 10\.128\.1\.0\/24 of network b/,
  ],
  [{ services: portAt('192.0.2') }, /service web: host address "192\.0\.2" is not valid/],
  [{ services: portAt('fd00::1') }, /service web: host address "fd00::1" is not valid/],
  [{ peers: [{ ...peer, dataPathAddress: 'fd00::1' }] }, /node n1: data path address "fd00::1"/],
];

describe('a state of the networks', () => {
  it('is taken when nothing is wrong with it', () => {
    assert.doesNotThrow(() => checkState(sound));
  });

  for (const [fault, message] of FAULTS) {
    it(`is refused, saying ${String(message)}`, () => {
      assert.throws(
        () => checkState({ ...sound, ...fault }),
        (error) => isKind(error, 'invalid-argument') && message.test(String(error)),
      );
    });
  }
});

describe('a sandbox', () => {
  const port = { protocol: 'tcp', hostIp: '', publishedPort: 80, targetPort: 80 } as const;
  const box = { id: 'box', attachments: [{ networkId: 'app', address: '10.128.1.7/24' }] };

  it('is taken when nothing is wrong with it', () => {
    assert.doesNotThrow(() => checkSandbox({ ...box, hostPorts: [port] }));
  });

  it('is refused with a name, address or port that cannot be', () => {
    const faults = [
      { ...box, id: '../box', hostPorts: [] },
      { ...box, attachments: [{ networkId: 'app', address: '10.128.1.7' }], hostPorts: [] },
      { ...box, hostPorts: [{ ...port, hostIp: 'fd00::1' }] },
      { ...box, hostPorts: [{ ...port, targetPort: 0 }] },
    ];
    for (const fault of faults) {
      assert.throws(
        () => checkSandbox(fault),
        (error) => isKind(error, 'invalid-argument'),
      );
    }
  });
});
