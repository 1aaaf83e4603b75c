import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { type KernelRig, jsonIn, openRig } from './rig.js';

const TABLE = `
table ip hatoba {
  map backends { type ipv4_addr : ipv4_addr; }
  chain prerouting { type nat hook prerouting priority -100; dnat to ip daddr map @backends; }
}
`;

describe('Nftables port', () => {
  let rig: KernelRig;
  let netns: string;

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'nft');
    rig = await openRig();
    netns = `${rig.folder}/ht-linux-nft`;
    await rig.kernel.namespaces.createNetns(netns);
    await rig.kernel.nftables.run(TABLE, netns);
  });
  after(async () => {
    await rig.kernel.namespaces.dropNetns(netns);
    await rig.close();
  });

  function elements(): string[] {
    const { nftables } = jsonIn(
      netns,
      'nft',
      '-j',
      'list',
      'map',
      'ip',
      'hatoba',
      'backends',
    ) as unknown as { nftables: { map?: { elem?: [string, string][] } }[] };
    const map = nftables.find((object) => object.map !== undefined)?.map;
    return (map?.elem ?? []).map(([from, to]) => `${from}>${to}`).sort();
  }

  it('changes the rules of its namespace and of no other', async () => {
    await rig.kernel.nftables.run('add element ip hatoba backends { 10.0.0.1 : 10.0.0.2 }', netns);
    assert.deepEqual(elements(), ['10.0.0.1>10.0.0.2']);
    const own = execFileSync('/usr/sbin/nft', ['list', 'tables'], { encoding: 'utf8' });
    assert.doesNotMatch(own, /backends/);
    await rig.kernel.nftables.run('flush map ip hatoba backends', netns);
  });

  it('does all of a script or nothing', async () => {
    const script = `
      add element ip hatoba backends { 10.0.0.3 : 10.0.0.4 }
      delete element ip hatoba backends { 10.9.9.9 }
    `;
    await assert.rejects(rig.kernel.nftables.run(script, netns), {
      kind: 'not-found',
      message: /10\.0\.0\.3.*No such file or directory/s,
    });
    assert.deepEqual(elements(), []);
  });

  it('says where a script is wrong', async () => {
    await assert.rejects(rig.kernel.nftables.run('add rool ip hatoba prerouting drop', netns), {
      kind: 'invalid-argument',
      message: /syntax error/,
    });
    await rig.kernel.nftables.run('add element ip hatoba backends { 10.0.0.5 : 10.0.0.6 }', netns);
    assert.deepEqual(elements(), ['10.0.0.5>10.0.0.6']);
    await rig.kernel.nftables.run('flush map ip hatoba backends', netns);
  });

  it('answers queries with what nft prints as JSON', async () => {
    await rig.kernel.nftables.run('add element ip hatoba backends { 10.0.0.7 : 10.0.0.8 }', netns);
    const objects = await rig.kernel.nftables.query('list map ip hatoba backends', netns);
    const { map } = objects.at(-1) as { map: { name: string; elem: unknown } };
    assert.deepEqual([map.name, map.elem], ['backends', [['10.0.0.7', '10.0.0.8']]]);
    await assert.rejects(rig.kernel.nftables.query('list table ip nope', netns), {
      kind: 'not-found',
    });
    await rig.kernel.nftables.run('flush map ip hatoba backends', netns);
  });

  it('sees what another program changed meanwhile', async () => {
    await rig.kernel.nftables.query('list ruleset', netns);
    execFileSync('/usr/bin/nsenter', [
      `--net=${netns}`,
      '/usr/sbin/nft',
      'add table ip other; add chain ip other c',
    ]);
    const script = 'add rule ip other c counter; add table ip third';
    await rig.kernel.nftables.run(script, netns);
    const objects = await rig.kernel.nftables.query('list tables', netns);
    const names = objects.flatMap((o) => (o as { table?: { name: string } }).table?.name ?? []);
    assert.deepEqual(names.sort(), ['hatoba', 'other', 'third']);
  });

  it('tells whether others changed the rules, and does not count its own changes', async () => {
    const { nftables } = rig.kernel;
    const others = (): Promise<boolean> => nftables.isChangedByOthers(netns);
    const spoil = (command: string): void => {
      execFileSync('/usr/bin/nsenter', [`--net=${netns}`, '/usr/sbin/nft', command]);
    };
    await others();
    await nftables.run('add table ip mine; delete table ip mine', netns);
    await assert.rejects(nftables.run('delete table ip nope', netns));
    await nftables.query('list ruleset', netns);
    assert.equal(await others(), false);
    spoil('add table ip foreign');
    assert.deepEqual([await others(), await others()], [true, false]);
    spoil('delete table ip foreign');
    await nftables.run('add table ip mine; delete table ip mine', netns);
    assert.deepEqual([await others(), await others()], [true, false]);
  });

  it('reads a counter, and says when there is none', async () => {
    const { nftables } = rig.kernel;
    const counter = { family: 'ip', table: 'counting', name: 'seen' } as const;
    const read = (): Promise<number> => nftables.countedPackets(counter, netns);
    await assert.rejects(read(), { kind: 'not-found' });
    await nftables.run(
      'table ip counting { counter seen { packets 5000000000 bytes 7; }; }',
      netns,
    );
    assert.equal(await read(), 5_000_000_000);
    await nftables.run('delete table ip counting', netns);
  });

  it('takes a script with thousands of elements', async () => {
    const list = Array.from({ length: 5000 }, (_, i) => `10.1.${i >> 8}.${i & 255} : 10.2.0.1`);
    await rig.kernel.nftables.run(`add element ip hatoba backends { ${list.join(', ')} }`, netns);
    assert.equal(elements().length, 5000);
    await rig.kernel.nftables.run('flush map ip hatoba backends', netns);
  });
});
