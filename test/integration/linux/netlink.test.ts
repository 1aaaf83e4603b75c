import assert from 'node:assert/strict';
import type { NetlinkOp } from '../../../linux/ports.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { describeNetlink } from '../../unit/linux/netlink.suite.js';
import { type KernelRig, inventory, jsonIn, openRig, runIn } from './rig.js';

const BRIDGE: NetlinkOp = { op: 'link-add', kind: 'bridge', name: 'br0', mac: '02:42:00:00:00:01' };

describe('the real kernel', () => {
  before(function () {
    requiresRoot(this);
  });
  describeNetlink('real kernel', async () => {
    const rig = await openRig();
    return {
      kernel: rig.kernel,
      host: `${rig.folder}/host`,
      container: `${rig.folder}/container`,
      close: rig.close,
    };
  });
});

describe('netlink as ip and bridge show it', () => {
  let rig: KernelRig;
  let host: string;
  let container: string;

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'ip');
    requiresCommand(this, 'bridge');
    rig = await openRig();
    host = `${rig.folder}/ht-linux-host`;
    container = `${rig.folder}/ht-linux-container`;
  });
  after(() => rig.close());
  beforeEach(async () => {
    await rig.kernel.namespaces.createNetns(host);
    await rig.kernel.namespaces.createNetns(container);
  });
  afterEach(async () => {
    await rig.kernel.namespaces.dropNetns(container);
    await rig.kernel.namespaces.dropNetns(host);
  });
  const apply = (...ops: readonly NetlinkOp[]): Promise<void> =>
    rig.kernel.netlink.apply(ops, host);

  it('makes a VXLAN device that does not learn', async () => {
    await apply({
      op: 'link-add',
      kind: 'vxlan',
      name: 'vx0',
      vni: 16777215,
      localAddress: '127.0.0.1',
      port: 14789,
      mtuBytes: 1450,
    });
    const [vx0] = jsonIn(host, 'ip', '-d', '-j', 'link', 'show', 'vx0');
    assert.equal(vx0?.['mtu'], 1450);
    const { info_data: details } = vx0['linkinfo'] as { info_data: Record<string, unknown> };
    const { id, local, port, learning } = details;
    assert.deepEqual(
      { id, local, port, learning },
      { id: 16777215, local: '127.0.0.1', port: 14789, learning: false },
    );
  });

  it('sets every flag of a bridge port, both ways', async () => {
    await apply(
      BRIDGE,
      { op: 'link-add', kind: 'veth', name: 'v0', peer: { name: 'eth0', netns: container } },
      { op: 'link-set', name: 'v0', master: 'br0', up: true },
    );
    for (const on of [true, false]) {
      await apply({
        op: 'bridge-port',
        name: 'v0',
        learning: on,
        flood: on,
        mcastFlood: on,
        bcastFlood: on,
        neighSuppress: on,
        hairpin: on,
        isolated: on,
      });
      const [port] = jsonIn(host, 'bridge', '-d', '-j', 'link', 'show', 'dev', 'v0');
      const shown = [
        'learning',
        'flood',
        'mcast_flood',
        'bcast_flood',
        'neigh_suppress',
        'hairpin',
      ];
      for (const flag of [...shown, 'isolated']) assert.equal(port?.[flag], on, flag);
    }
  });

  it('leaves the flags alone that are not given', async () => {
    await apply(
      BRIDGE,
      { op: 'link-add', kind: 'veth', name: 'v0', peer: { name: 'eth0', netns: container } },
      { op: 'link-set', name: 'v0', master: 'br0' },
      { op: 'bridge-port', name: 'v0', isolated: true },
      { op: 'bridge-port', name: 'v0', learning: false },
    );
    const [port] = jsonIn(host, 'bridge', '-d', '-j', 'link', 'show', 'dev', 'v0');
    assert.deepEqual(
      [port?.['isolated'], port?.['learning'], port?.['flood']],
      [true, false, true],
    );
  });

  it('carries packets between host and container', async () => {
    await apply(
      BRIDGE,
      { op: 'link-set', name: 'br0', up: true },
      { op: 'address-add', link: 'br0', cidr: '10.79.0.1/24' },
      { op: 'link-add', kind: 'veth', name: 'v0', peer: { name: 'eth0', netns: container } },
      { op: 'link-set', name: 'v0', master: 'br0', up: true },
    );
    await rig.kernel.netlink.apply(
      [
        { op: 'address-add', link: 'eth0', cidr: '10.79.0.2/24' },
        { op: 'link-set', name: 'eth0', up: true },
        { op: 'route-add', destination: 'default', via: '10.79.0.1' },
      ],
      container,
    );
    assert.match(runIn(container, 'ping', '-c1', '-W2', '10.79.0.1'), /1 received/);
    const [route] = jsonIn(container, 'ip', '-j', 'route', 'show', 'default');
    assert.deepEqual([route?.['gateway'], route?.['dev']], ['10.79.0.1', 'eth0']);
  });

  it('programs static entries as bridge(8) and ip(8) would', async () => {
    await apply(
      BRIDGE,
      {
        op: 'link-add',
        kind: 'vxlan',
        name: 'vx0',
        vni: 9,
        localAddress: '127.0.0.1',
        port: 14789,
      },
      { op: 'link-set', name: 'vx0', master: 'br0', up: true },
      { op: 'fdb-add', link: 'vx0', mac: '02:42:0a:4f:00:09', where: 'master' },
      {
        op: 'fdb-add',
        link: 'vx0',
        mac: '02:42:0a:4f:00:09',
        where: 'self',
        destination: '192.0.2.7',
      },
      { op: 'neigh-add', link: 'br0', address: '10.79.0.9', mac: '02:42:0a:4f:00:09' },
    );
    const entries = jsonIn(host, 'bridge', '-j', 'fdb', 'show', 'dev', 'vx0')
      .filter((e) => e['mac'] === '02:42:0a:4f:00:09')
      .map(({ master, dst, state, flags }) => ({ master, dst, state, flags }));
    // kernels differ in which of the two tables they tell first, older ones tell one of them twice
    const distinct = new Set(entries.map((entry) => JSON.stringify(entry)));
    assert.deepEqual(
      distinct,
      new Set([
        JSON.stringify({ master: 'br0', state: 'static', flags: [] }),
        JSON.stringify({ dst: '192.0.2.7', state: 'permanent', flags: ['self'] }),
      ]),
    );
    const [neighbour] = jsonIn(host, 'ip', '-j', 'neigh', 'show', 'dev', 'br0');
    assert.deepEqual(
      [neighbour?.['dst'], neighbour?.['lladdr'], neighbour?.['state']],
      ['10.79.0.9', '02:42:0a:4f:00:09', ['PERMANENT']],
    );
  });

  it('tells that something lasting has changed, whoever changed it', async () => {
    const changed = (): Promise<boolean> => rig.kernel.netlink.hasChanged(host);
    const vxlan = { vni: 5, localAddress: '127.0.0.1', port: 14789 };
    await apply(
      BRIDGE,
      { op: 'link-add', kind: 'vxlan', name: 'vx0', ...vxlan },
      { op: 'link-set', name: 'vx0', master: 'br0', up: true },
      { op: 'link-set', name: 'br0', up: true },
    );
    assert.equal(await changed(), true);
    const changes = [
      'ip address add 10.77.0.1/24 dev br0',
      'ip neigh add 10.77.0.9 lladdr 02:42:0a:4d:00:09 dev br0',
      'ip neigh del 10.77.0.9 dev br0',
      'bridge fdb add 02:42:0a:4d:00:09 dev vx0 master static',
      'bridge fdb add 02:42:0a:4d:00:09 dev vx0 self dst 192.0.2.7',
      'bridge fdb del 02:42:0a:4d:00:09 dev vx0 self',
      'bridge fdb del 02:42:0a:4d:00:09 dev vx0 master',
      'bridge link set dev vx0 learning off',
      'ip route add default via 10.77.0.9 table 7',
      'ip route del default table 7',
      'ip link set br0 mtu 1400',
    ];
    await changed();
    for (const command of changes) {
      runIn(host, ...command.split(' '));
      assert.equal(await changed(), true, command);
      assert.equal(await changed(), false, command);
    }
  });

  it('applies thousands of changes in one call', async () => {
    await apply(BRIDGE);
    const neighbours = Array.from({ length: 3000 }, (_, i) => {
      const [high, low] = [i >> 8, i & 255];
      const mac = `02:42:0a:50:${hex(high)}:${hex(low)}`;
      return { op: 'neigh-add' as const, link: 'br0', address: `10.80.${high}.${low}`, mac };
    });
    await apply(...neighbours);
    assert.equal((await rig.kernel.netlink.neighbours(host)).length, 3000);
  });

  it('reads many links in full, over several answers of the kernel', async () => {
    const bridges = Array.from({ length: 200 }, (_, i) => ({
      op: 'link-add' as const,
      kind: 'bridge' as const,
      name: `br${i}`,
    }));
    await apply(...bridges);
    assert.equal((await rig.kernel.netlink.links(host)).length, 201);
  });

  it('names op, namespace, errno and the reason of the kernel', async () => {
    await assert.rejects(
      apply({ op: 'route-add', destination: '10.8.0.0/16', via: '203.0.113.1' }),
      (error: Error) => {
        for (const part of ['route-add 10.8.0.0/16', host, 'ENETUNREACH', 'invalid gateway']) {
          assert.ok(error.message.includes(part), `${error.message} lacks ${part}`);
        }
        return true;
      },
    );
  });

  it('says why a veth is refused: its peer is elsewhere, or its name is taken there', async () => {
    const veth = { op: 'link-add', kind: 'veth', name: 'v0' } as const;
    await apply({ ...veth, peer: { name: 'eth0', netns: container } });
    await assert.rejects(apply({ ...veth, peer: { name: 'eth0', netns: host } }), {
      kind: 'conflict',
      message: /leads to another namespace/,
    });
    await assert.rejects(apply({ ...veth, name: 'v1', peer: { name: 'eth0', netns: container } }), {
      kind: 'already-exists',
      message: /eth0 is taken/,
    });
  });

  it('rejects values that are no addresses or names before it asks the kernel', async () => {
    const wrong: NetlinkOp[] = [
      { op: 'address-add', link: 'lo', cidr: '10.0.0.1/33' },
      { op: 'neigh-add', link: 'lo', address: '10.0.0', mac: '02:42:00:00:00:01' },
      { op: 'neigh-add', link: 'lo', address: '10.0.0.1', mac: '02:42' },
      { op: 'link-add', kind: 'bridge', name: 'much-too-long-name' },
    ];
    for (const op of wrong) await assert.rejects(apply(op), { kind: 'invalid-argument' });
  });

  it('keeps no namespace, descriptor or mount once a namespace is dropped', async () => {
    const before = inventory(rig.folder);
    for (let i = 0; i < 40; i++) {
      const path = `${rig.folder}/ht-linux-leak${i}`;
      await rig.kernel.namespaces.createNetns(path);
      await rig.kernel.netlink.apply([{ op: 'link-add', kind: 'bridge', name: 'br0' }], path);
      await rig.kernel.nftables.run('table ip leak', path);
      await rig.kernel.namespaces.dropNetns(path);
    }
    assert.deepEqual(inventory(rig.folder), before);
  });
});

function hex(value: number): string {
  return value.toString(16).padStart(2, '0');
}
