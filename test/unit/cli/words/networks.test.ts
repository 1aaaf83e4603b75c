import assert from 'node:assert/strict';
import {
  pairSubnets,
  readDriverOptions,
  readNetworkFlags,
} from '../../../../cli/words/networks.js';

describe('the words of networks', () => {
  it('pair each subnet with the gateway and the range that lie in it', () => {
    assert.deepEqual(
      pairSubnets({
        subnets: ['10.1.0.0/24', '10.2.0.0/16'],
        gateways: ['10.2.9.1', '10.1.0.254'],
        ranges: ['10.2.128.0/17'],
      }),
      [
        { subnet: '10.1.0.0/24', gateway: '10.1.0.254', ipRange: '' },
        { subnet: '10.2.0.0/16', gateway: '10.2.9.1', ipRange: '10.2.128.0/17' },
      ],
    );
    assert.deepEqual(pairSubnets({ subnets: [], gateways: [], ranges: [] }), []);
  });

  const WRONG: readonly [
    what: string,
    words: Parameters<typeof pairSubnets>[0],
    message: RegExp,
  ][] = [
    [
      'a gateway without a subnet',
      { subnets: [], gateways: ['10.1.0.1'], ranges: [] },
      /gateway 10\.1\.0\.1 is in no subnet .*there is no subnet.*--subnet/,
    ],
    [
      'a range that is larger than its subnet',
      { subnets: ['10.1.0.0/24'], gateways: [], ranges: ['10.1.0.0/16'] },
      /range 10\.1\.0\.0\/16 is in no subnet .*not in 10\.1\.0\.0\/24/,
    ],
    [
      'two gateways of one subnet',
      { subnets: ['10.1.0.0/24'], gateways: ['10.1.0.1', '10.1.0.2'], ranges: [] },
      /subnet 10\.1\.0\.0\/24 has two gateways/,
    ],
    [
      'two ranges of one subnet',
      { subnets: ['10.1.0.0/24'], gateways: [], ranges: ['10.1.0.0/25', '10.1.0.128/25'] },
      /has two ranges/,
    ],
    [
      'no address',
      { subnets: ['10.1.0.0/24'], gateways: ['10.1.0.999'], ranges: [] },
      /gateway 10\.1\.0\.999 is in no subnet/,
    ],
  ];
  for (const [what, words, message] of WRONG) {
    it(`refuse ${what}`, () => {
      assert.throws(() => pairSubnets(words), { kind: 'invalid-argument', message });
    });
  }

  it('take the options of docker that have a field', () => {
    const options = {
      'com.docker.network.driver.mtu': '1400',
      'com.docker.network.driver.overlay.vxlanid_list': '5000',
      team: 'blue',
    };
    const read = { options: { team: 'blue' }, mtuBytes: 1400, vni: 5000 };
    assert.deepEqual(readDriverOptions(options), read);
    assert.deepEqual(readDriverOptions({}), { options: {} });
    assert.throws(() => readDriverOptions({ encrypted: '' }), /encrypted networks/);
    assert.throws(() => readDriverOptions({ 'com.docker.network.driver.mtu': 'big' }), /whole number/); // prettier-ignore
  });

  const place = (networks: string[], aliases: string[] = [], ip?: string): ReturnType<typeof readNetworkFlags> =>
    readNetworkFlags({ networks, aliases, ip }); // prettier-ignore

  it('say where a container is to be', () => {
    assert.deepEqual(place([]), { networkMode: '', networks: [] });
    assert.deepEqual(place(['container:web']), { networkMode: 'container:web', networks: [] });
    assert.deepEqual(
      place(['back', 'name=front,alias=a,alias=b,ip=10.0.0.9'], ['db'], '10.1.0.7'),
      {
        networkMode: '',
        networks: [
          { network: 'back', aliases: ['db'], ipAddress: '10.1.0.7' },
          { network: 'front', aliases: ['a', 'b'], ipAddress: '10.0.0.9' },
        ],
      },
    );
  });

  const MISPLACED: readonly [networks: string[], aliases: string[], message: RegExp][] = [
    [[], ['db'], /an alias needs --network with an attachable network .* "bridge" has none/],
    [['host'], ['db'], /"host" has none/],
    [['name=bridge,ip=172.30.0.9'], [], /an address of one's own needs --network/],
    [['back', 'host'], [], /--network host cannot be together/],
    [['alias=db'], [], /needs name=NETWORK/],
    [['name=back,mac=1'], [], /unknown word "mac"; known are name, alias, ip/],
    [['name=back,alias='], [], /"alias" needs a value/],
  ];
  for (const [networks, aliases, message] of MISPLACED) {
    it(`refuse ${[...networks, ...aliases].join(' ')}`, () => {
      assert.throws(() => place(networks, aliases), { kind: 'invalid-argument', message });
    });
  }
});
