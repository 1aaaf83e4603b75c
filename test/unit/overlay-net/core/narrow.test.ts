import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { diffLinks } from '../../../../overlay-net/core/link-diff.js';
import { planLinks } from '../../../../overlay-net/core/link-plan.js';
import { narrow } from '../../../../overlay-net/core/narrow.js';
import { planNft, type NftInput } from '../../../../overlay-net/core/nft-plan.js';
import { changeScript } from '../../../../overlay-net/core/nft-script.js';
import { anyState } from './states.js';

const underlay = { address: '192.0.2.1', mtuBytes: 1500, port: 4789 };

/** A state and one that keeps most of its objects: as assignments change it. */
const anyStep = fc
  .record({
    state: anyState,
    other: anyState,
    drop: fc.infiniteStream(fc.integer({ min: 0, max: 3 })),
    flip: fc.infiniteStream(fc.integer({ min: 0, max: 3 })),
    withOthers: fc.boolean(),
  })
  .map(({ state, other, drop, flip, withOthers }): [NetworkState, NetworkState] => {
    const keep = <T>(list: readonly T[]): T[] => list.filter(() => drop.next().value !== 0);
    const endpoints = keep(state.endpoints).map((e) =>
      flip.next().value === 0 ? { ...e, ready: !e.ready } : e,
    );
    const addresses = new Set(endpoints.map((e) => e.address));
    const more = other.endpoints.filter((e) => !addresses.has(e.address));
    const services = keep(state.services);
    const places = new Set(services.map((s) => s.virtualIp));
    const moreServices = other.services.filter((s) => !places.has(s.virtualIp));
    return [
      state,
      {
        ...state,
        endpoints: [...endpoints, ...(withOthers ? more : [])],
        services: [...services, ...(withOthers ? moreServices : [])],
      },
    ];
  });

const sorted = (lines: readonly unknown[]): string[] => lines.map((l) => JSON.stringify(l)).sort();

/** The elements of a script, one a line, whatever their order. */
const elementsOf = (script: string): string[] =>
  script.split('\n').flatMap((line) => {
    const match = /^(.*) \{ (.*) \}$/.exec(line);
    return match === null ? [line] : (match[2] ?? '').split(', ').map((e) => `${match[1]} ${e}`);
  });

const input = (state: NetworkState): NftInput => ({ state, hostPorts: [], ports: [] });

describe('the part of a step that can differ', () => {
  it('gives the same changes of links as the whole', () => {
    fc.assert(
      fc.property(anyStep, ([before, after]) => {
        const diff = (a: NetworkState, b: NetworkState): unknown => {
          const { first, last } = diffLinks(planLinks(a, underlay), planLinks(b, underlay));
          return [sorted(first), sorted(last)];
        };
        const parts = narrow(before, after);
        assert.deepEqual(diff(parts.before, parts.after), diff(before, after));
      }),
    );
  });

  it('gives the same changes of the table, and places, as the whole', () => {
    fc.assert(
      fc.property(anyStep, ([before, after]) => {
        const { slots, chains } = planNft(input(before), new Map());
        const diff = (a: NetworkState, b: NetworkState): string[] => {
          const plan = planNft(input(a), slots);
          return elementsOf(changeScript({ plan, chains }, planNft(input(b), slots))).sort();
        };
        const parts = narrow(before, after);
        assert.deepEqual(diff(parts.before, parts.after), diff(before, after));
      }),
    );
  });

  it('is nothing but networks and peers where nothing changed, and the whole where those did', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const same = narrow(state, { ...state, endpoints: [...state.endpoints] });
        assert.deepEqual([same.after.endpoints, same.after.services], [[], []]);
        const other = { ...state, peers: [...state.peers, { ...state.peers[0] }] } as NetworkState;
        assert.deepEqual(narrow(state, other), { before: state, after: other });
      }),
    );
  });

  it('has who held an address before and who holds it now', () => {
    const endpoint = (taskId: string, serviceId: string): NetworkState['endpoints'][number] => ({
      networkId: 'net1',
      taskId,
      serviceId,
      nodeId: 'n1',
      address: '10.0.1.7',
      slot: 1,
      aliases: [],
      name: taskId,
      ready: true,
    });
    const [a, b] = [endpoint('a', 'svc1'), endpoint('b', 'svc2')];
    const ground = { nodeId: 'n1', networks: [], peers: [], services: [] };
    const parts = narrow({ ...ground, endpoints: [a, b] }, { ...ground, endpoints: [b] });
    assert.deepEqual(parts.before.endpoints, [a, b]);
    assert.deepEqual(parts.after.endpoints, [b]);
  });
});
