import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Zone } from '../../../../overlay-net/core/dns-zone.js';
import { rotate } from '../../../../overlay-net/core/rotate.js';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { endpoint, network, service } from '../../../integration/overlay-net/cluster.js';
import { anyState } from './states.js';

const ID = 'c0ffee'.padEnd(64, '0');

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
    { ...endpoint('db', 'n1', '', 1, '10.128.2.31'), taskId: ID, name: 'Box', aliases: ['rr'] },
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
const zone = zoneOf(state);

function zoneOf(...states: readonly NetworkState[]): Zone {
  const made = new Zone();
  for (const each of states) {
    made.update(each);
    for (const { networkId } of each.networks) made.lookup([networkId], 'any'); // gathers its names
  }
  return made;
}

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
    ['tasks.api.app', ['10.128.1.11', '10.128.1.12']],
    ['2.api.app', ['10.128.1.12']],
  ];
  for (const [name, addresses] of cases) {
    it(`answers ${name} with ${addresses.join(' ') || 'nothing'}`, () => {
      assert.deepEqual(zone.lookup(['app'], name), { kind: 'addresses', addresses });
    });
  }

  for (const name of [
    'example.org',
    'postgres',
    'published',
    '1.tool',
    'tasks.tool',
    'api.db',
    '',
  ]) {
    it(`leaves "${name}" to other resolvers`, () => {
      assert.deepEqual(zone.lookup(['app', 'ingress'], name), { kind: 'foreign' });
    });
  }

  for (const name of ['0.api', '4.api', '01.api', '4.api.app']) {
    it(`knows that there is no ${name}`, () => {
      assert.deepEqual(zone.lookup(['app'], name), { kind: 'absent' });
    });
  }

  it('leads by id, whole or its first twelve digits', () => {
    for (const name of [ID, ID.slice(0, 12), ID.toUpperCase(), 'box', 'box.db']) {
      assert.deepEqual(zone.lookup(['db'], name), {
        kind: 'addresses',
        addresses: ['10.128.2.31'],
      });
    }
    assert.deepEqual(zone.lookup(['db'], ID.slice(0, 11)), { kind: 'foreign' });
  });

  it('asks the networks in their order; the first that knows the name answers', () => {
    const addresses = (on: string[], name: string): unknown => zone.lookup(on, name);
    assert.deepEqual(addresses(['app', 'db'], 'postgres'), {
      kind: 'addresses',
      addresses: ['10.128.2.2'],
    });
    assert.deepEqual(addresses(['db', 'app'], 'rr'), {
      kind: 'addresses',
      addresses: ['10.128.2.31'],
    });
    const nobody = { ...state, endpoints: state.endpoints.map((e) => ({ ...e, ready: false })) };
    assert.deepEqual(zoneOf(nobody).lookup(['app', 'db'], 'rr'), {
      kind: 'addresses',
      addresses: [],
    });
  });

  it('names addresses of the own networks, and no others', () => {
    const reverse = (address: string, on: string[]): unknown =>
      zone.reverse(on, `${address.split('.').reverse().join('.')}.IN-ADDR.arpa`);
    assert.deepEqual(reverse('10.128.1.2', ['app']), { kind: 'name', name: 'shop_api.app' });
    assert.deepEqual(reverse('10.128.1.31', ['app']), { kind: 'name', name: 'tool.app' });
    assert.deepEqual(reverse('10.128.1.13', ['app']), { kind: 'name', name: 'api.3.n1.app' });
    assert.deepEqual(reverse('10.128.1.200', ['app']), { kind: 'absent' });
    assert.deepEqual(reverse('10.128.1.2', ['db']), { kind: 'foreign' });
    assert.deepEqual(reverse('192.0.2.1', ['app']), { kind: 'foreign' });
    assert.deepEqual(reverse('10.128.1.999', ['app']), { kind: 'foreign' });
  });

  it('follow a task that ends and a new one at its address', () => {
    const [first, ...rest] = state.endpoints;
    const moved = endpoint('app', 'n2', 'api', 9, '10.128.1.11');
    const after = zoneOf(state, { ...state, endpoints: [...rest, moved] });
    assert.equal(first?.address, moved.address);
    assert.deepEqual(after.lookup(['app'], '1.api'), { kind: 'absent' });
    assert.deepEqual(after.reverse(['app'], '11.1.128.10.in-addr.arpa'), {
      kind: 'name',
      name: 'api.9.n2.app',
    });
  });

  it('are those of the last state, whatever states came before', () => {
    fc.assert(
      fc.property(fc.array(anyState, { minLength: 1, maxLength: 4 }), fc.nat(), (drawn, seed) => {
        const states = drawn.map((next, i) => mixed(drawn[i - 1], next, seed + i));
        const last = states.at(-1) ?? state;
        const [grown, fresh] = [zoneOf(...states), zoneOf(last)];
        for (const on of [['net1'], ['net2'], ['net3', 'net1', 'net2']]) {
          assert.equal(grown.hasOutside(on), fresh.hasOutside(on));
          for (const name of namesIn(states)) {
            assert.deepEqual(sorted(grown.lookup(on, name)), sorted(fresh.lookup(on, name)), name);
          }
          for (const { address } of states.flatMap((s) => s.endpoints)) {
            const name = `${address.split('.').reverse().join('.')}.in-addr.arpa`;
            assert.deepEqual(grown.reverse(on, name), fresh.reverse(on, name));
          }
        }
      }),
    );
  });

  it('has no way out from internal networks alone', () => {
    assert.equal(zone.hasOutside(['db']), false);
    assert.equal(zone.hasOutside(['db', 'app']), true);
    assert.equal(zone.hasOutside(['unknown']), false);
  });

  it('turn answers so that every address comes first as often, by whatever step one asks', () => {
    assert.deepEqual(rotate(['a', 'b', 'c'], 0).join(''), 'abc');
    assert.deepEqual(rotate([], 5), []);
    for (const step of [1, 2, 3, 4, 10]) {
      const first = Array.from({ length: 600 }, (_, i) => rotate(['a', 'b', 'c'], i * step)[0]);
      for (const each of ['a', 'b', 'c']) {
        const count = first.filter((f) => f === each).length;
        assert.ok(Math.abs(count - 200) <= 10, `${each} ${count} times of 600 by step ${step}`);
      }
    }
  });
});

/** The next state, with about half of the objects that are equal in both being the same ones. */
function mixed(before: NetworkState | undefined, next: NetworkState, seed: number): NetworkState {
  const keep = <T>(old: readonly T[], fresh: readonly T[]): T[] => {
    const known = new Map(old.map((o) => [JSON.stringify(o), o]));
    return fresh.map((o, i) => ((i + seed) % 2 === 0 ? o : (known.get(JSON.stringify(o)) ?? o)));
  };
  if (before === undefined) return next;
  return {
    ...next,
    networks: keep(before.networks, next.networks),
    services: keep(before.services, next.services),
    endpoints: keep(before.endpoints, next.endpoints),
  };
}

function namesIn(states: readonly NetworkState[]): Set<string> {
  const services = states.flatMap((s) => s.services.flatMap((o) => [o.name, ...o.aliases]));
  const endpoints = states.flatMap((s) => s.endpoints);
  return new Set([
    ...services.flatMap((name) => [name, `tasks.${name}`, `1.${name}`, `${name}.net1`]),
    ...endpoints.flatMap((e) => [e.name, e.taskId, `${e.slot}.${e.serviceId}`]),
  ]);
}

function sorted(answer: ReturnType<Zone['lookup']>): unknown {
  return answer.kind === 'addresses' ? [...answer.addresses].sort() : answer;
}
