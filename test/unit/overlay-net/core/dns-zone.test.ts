import assert from 'node:assert/strict';
import { createZone, rotate } from '../../../../overlay-net/core/dns-zone.js';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { endpoint, network, service } from '../../../integration/overlay-net/cluster.js';

const notReady = { ...endpoint('app', 'n1', 'api', 3, '10.128.1.13'), ready: false };
const state: NetworkState = {
  nodeId: 'n1',
  networks: [
    network('ingress', 0, { ingress: true }),
    network('app', 1),
    network('db', 2, { internal: true }),
  ],
  endpoints: [
    endpoint('app', 'n1', 'api', 1, '10.128.1.11'),
    endpoint('app', 'n2', 'api', 2, '10.128.1.12'),
    notReady,
    endpoint('app', 'n2', 'rr', 1, '10.128.1.21'),
    endpoint('app', 'n2', 'rr', 2, '10.128.1.22'),
    { ...endpoint('app', 'n1', '', 1, '10.128.1.31'), name: 'tool', aliases: ['api', 'Spanner'] },
    endpoint('ingress', 'n1', 'api', 1, '10.128.0.11'),
  ],
  services: [
    service('app', 'shop_api', '10.128.1.2', { serviceId: 'api', aliases: ['api'] }),
    service('app', 'rr', ''),
    service('app', 'idle', ''),
    service('ingress', 'published', '10.128.0.2'),
    service('db', 'postgres', '10.128.2.2'),
  ],
  peers: [],
};
const zone = createZone(state);

describe('names of the networks', () => {
  const cases: [name: string, addresses: string[]][] = [
    ['api', ['10.128.1.2']],
    ['shop_api', ['10.128.1.2']],
    ['API.', ['10.128.1.2']],
    ['api.app', ['10.128.1.2']],
    ['tasks.api', ['10.128.1.11', '10.128.1.12']],
    ['tasks.shop_api', ['10.128.1.11', '10.128.1.12']],
    ['1.api', ['10.128.1.11']],
    ['3.api', []],
    ['rr', ['10.128.1.21', '10.128.1.22']],
    ['idle', []],
    ['tool', ['10.128.1.31']],
    ['spanner', ['10.128.1.31']],
    ['api.1.n1', ['10.128.1.11']],
    ['api.3.n1', []],
  ];
  for (const [name, addresses] of cases) {
    it(`answers ${name} with ${addresses.join(' ') || 'nothing'}`, () => {
      assert.deepEqual(zone.lookup(['app'], name), { kind: 'addresses', addresses });
    });
  }

  for (const name of ['example.org', 'postgres', 'published', '4.api', 'api.db', '']) {
    it(`leaves "${name}" to other resolvers`, () => {
      assert.deepEqual(zone.lookup(['app', 'ingress'], name), { kind: 'foreign' });
    });
  }

  it('asks the networks in their order', () => {
    assert.deepEqual(zone.lookup(['db', 'app'], 'postgres'), {
      kind: 'addresses',
      addresses: ['10.128.2.2'],
    });
  });

  it('names addresses of the own networks, and no others', () => {
    const reverse = (address: string, on: string[]): unknown =>
      zone.reverse(on, `${address.split('.').reverse().join('.')}.in-addr.arpa`);
    assert.deepEqual(reverse('10.128.1.2', ['app']), { kind: 'name', name: 'shop_api' });
    assert.deepEqual(reverse('10.128.1.31', ['app']), { kind: 'name', name: 'tool' });
    assert.deepEqual(reverse('10.128.1.200', ['app']), { kind: 'absent' });
    assert.deepEqual(reverse('10.128.1.2', ['db']), { kind: 'foreign' });
    assert.deepEqual(reverse('192.0.2.1', ['app']), { kind: 'foreign' });
  });

  it('has no way out from internal networks alone', () => {
    assert.equal(zone.hasOutside(['db']), false);
    assert.equal(zone.hasOutside(['db', 'app']), true);
    assert.equal(zone.hasOutside(['unknown']), false);
  });

  it('turns answers', () => {
    assert.deepEqual(
      [0, 1, 2, 3].map((n) => rotate(['a', 'b', 'c'], n).join('')),
      ['abc', 'bca', 'cab', 'abc'],
    );
    assert.deepEqual(rotate([], 5), []);
  });
});
