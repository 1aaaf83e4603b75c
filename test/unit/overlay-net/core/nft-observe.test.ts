import assert from 'node:assert/strict';
import {
  canonicalOf,
  compareSkeletons,
  elementsOf,
  repairElements,
  skeletonOf,
} from '../../../../overlay-net/core/nft-observe.js';

const map = (...elem: unknown[]): unknown[] => [
  { metainfo: { version: '1.0.6' } },
  { map: { family: 'ip', name: 'm', table: 'hatoba', handle: 3, elem } },
];
const rule = (handle: number, chain: string, verdict: string): unknown => ({
  rule: {
    family: 'ip',
    table: 'hatoba',
    chain,
    handle,
    expr: [{ counter: { packets: handle, bytes: 7 } }, { [verdict]: null }],
  },
});

describe('nftables as the kernel shows them', () => {
  it('have the elements that were planned, in another notation', () => {
    const shown = elementsOf(
      map(
        [{ concat: ['10.0.0.2', 'tcp', 80, 0x49000001] }, { concat: ['10.0.0.7', 8080] }],
        ['10.0.0.9', { goto: { target: 'n2' } }],
        ['06:00:01:00:10:01', 0x48000001],
      ),
    );
    const planned = new Map([
      ['10.0.0.2 . tcp . 80 . 0x49000001', '10.0.0.7 . 8080'],
      ['10.0.0.9', 'goto n2'],
      ['06:00:01:00:10:01', '0x48000001'],
    ]);
    const canonical = [...planned].map(([k, d]) => [canonicalOf(k), canonicalOf(d)] as const);
    assert.deepEqual(shown, new Map(canonical));
    const set = {
      set: { elem: [{ concat: ['hb1', 'hb1'] }, { prefix: { addr: '10.0.0.0', len: 24 } }] },
    };
    assert.deepEqual([...elementsOf([set]).keys()], ['hb1 . hb1', '10.0.0.0/24']);
    assert.equal(canonicalOf('"hb1" . "hb1"'), 'hb1 . hb1');
  });

  it('are repaired by what differs, and nothing else', () => {
    const actual = new Map([
      ['10.0.0.1', '10.1.0.1'],
      ['10.0.0.2', '10.1.0.9'],
      ['10.0.0.4', '10.1.0.4'],
    ]);
    const wanted = new Map([
      ['10.0.0.1', '10.1.0.1'],
      ['10.0.0.2', '10.1.0.2'],
      ['10.0.0.3', '10.1.0.3'],
    ]);
    const { script, repairs } = repairElements('vip_chains', actual, wanted);
    const place = 'element ip hatoba vip_chains';
    assert.deepEqual(script.trim().split('\n'), [
      `delete ${place} { 10.0.0.2 }`,
      `delete ${place} { 10.0.0.4 }`,
      `add ${place} { 10.0.0.2 : 10.1.0.2 }`,
      `add ${place} { 10.0.0.3 : 10.1.0.3 }`,
    ]);
    assert.deepEqual(
      repairs.map((r) => `${r.change} ${r.what}`),
      [
        'changed element 10.0.0.2 of ip hatoba vip_chains',
        'removed element 10.0.0.4 of ip hatoba vip_chains',
        'added element 10.0.0.3 of ip hatoba vip_chains',
      ],
    );
    assert.equal(repairElements('vip_chains', wanted, wanted).script, '');
  });

  it('quote names of links in what is deleted', () => {
    const actual = new Map([['hs1 . 02:42:0a:00:00:01 . 10.0.0.1', '']]);
    const { script } = repairElements('senders', actual, new Map());
    const element = '"hs1" . 02:42:0a:00:00:01 . 10.0.0.1';
    assert.equal(script, `delete element bridge hatoba senders { ${element} }\n`);
  });

  it('are the same whatever was counted, and not when a rule is more, less or elsewhere', () => {
    const wanted = skeletonOf([rule(1, 'a', 'accept'), rule(2, 'a', 'drop')]);
    const compare = (...rules: unknown[]): string[] =>
      compareSkeletons(skeletonOf(rules), wanted).map((r) => `${r.change} ${r.what}`);
    assert.deepEqual(compare(rule(8, 'a', 'accept'), rule(9, 'a', 'drop')), []);
    assert.deepEqual(compare(rule(8, 'a', 'accept')), ['added rule of chain a, table ip hatoba']);
    const more = compare(rule(8, 'a', 'accept'), rule(9, 'a', 'drop'), rule(10, 'b', 'drop'));
    assert.deepEqual(more, ['removed rule of chain b, table ip hatoba']);
    const swapped = compare(rule(9, 'a', 'drop'), rule(8, 'a', 'accept'));
    assert.deepEqual(swapped, ['changed order or number of the rules of table hatoba']);
  });
});
