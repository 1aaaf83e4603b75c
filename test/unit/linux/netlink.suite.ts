import assert from 'node:assert/strict';
import { describe, it, before, after, beforeEach, afterEach } from 'mocha';
import { isKind } from '../../../common/errors.js';
import type { Kernel, NetlinkOp } from '../../../linux/ports.js';

/** A kernel and where in it a test may work: two namespace paths that do not exist yet. */
export interface KernelUnderTest {
  kernel: Kernel;
  host: string;
  container: string;
  close: () => Promise<void>;
}

const BRIDGE: readonly NetlinkOp[] = [
  { op: 'link-add', kind: 'bridge', name: 'br0', mac: '02:42:00:00:00:01', mtuBytes: 1450 },
  { op: 'link-set', name: 'br0', up: true },
  { op: 'address-add', link: 'br0', cidr: '10.77.0.1/24' },
];
const VXLAN = {
  op: 'link-add',
  kind: 'vxlan',
  name: 'vx0',
  vni: 4242,
  localAddress: '127.0.0.1',
  port: 14789,
  mtuBytes: 1450,
} as const satisfies NetlinkOp;

/** What every Kernel's Netlink and network namespaces must do, the one in memory too. */
export function describeNetlink(name: string, open: () => Promise<KernelUnderTest>): void {
  describe(`Netlink port: ${name}`, () => {
    let test: KernelUnderTest;
    const veth = (): NetlinkOp => ({
      op: 'link-add',
      kind: 'veth',
      name: 'v0',
      mac: '02:42:00:00:00:02',
      mtuBytes: 1450,
      peer: { name: 'eth0', netns: test.container, mac: '02:42:0a:4d:00:05' },
    });
    const apply = (...ops: readonly NetlinkOp[]): Promise<void> =>
      test.kernel.netlink.apply(ops, test.host);
    const link = async (linkName: string, netns = test.host) =>
      (await test.kernel.netlink.links(netns)).find((l) => l.name === linkName);
    /** Without the bridges' and ports' own addresses. */
    const setFdb = async () =>
      (await test.kernel.netlink.fdb(test.host)).filter((e) => e.isLocal !== true);
    const index = async (linkName: string): Promise<number> => (await link(linkName))?.index ?? -1;

    before(async () => {
      test = await open();
    });
    after(() => test.close());
    beforeEach(async () => {
      await test.kernel.namespaces.createNetns(test.host);
      await test.kernel.namespaces.createNetns(test.container);
    });
    afterEach(async () => {
      await test.kernel.namespaces.dropNetns(test.container);
      await test.kernel.namespaces.dropNetns(test.host);
    });

    it('makes a bridge with address, MTU and MAC, and does it again', async () => {
      for (let i = 0; i < 2; i++) {
        await apply(...BRIDGE);
        const br0 = await link('br0');
        assert.deepEqual(br0, {
          index: br0?.index,
          name: 'br0',
          kind: 'bridge',
          mac: '02:42:00:00:00:01',
          mtuBytes: 1450,
          up: true,
        });
        const addresses = await test.kernel.netlink.addresses(test.host);
        assert.deepEqual(
          addresses.filter((a) => a.link === br0.index),
          [{ link: br0.index, cidr: '10.77.0.1/24' }],
        );
      }
    });

    it('changes address and MTU of a link that is there', async () => {
      await apply(...BRIDGE);
      await apply({
        op: 'link-add',
        kind: 'bridge',
        name: 'br0',
        mac: '02:42:00:00:00:09',
        mtuBytes: 1400,
      });
      const br0 = await link('br0');
      assert.deepEqual([br0?.mac, br0?.mtuBytes], ['02:42:00:00:00:09', 1400]);
    });

    it('puts the ends of a veth into two namespaces, and does it again', async () => {
      for (let i = 0; i < 2; i++) {
        await apply(...BRIDGE, veth(), { op: 'link-set', name: 'v0', master: 'br0', up: true });
        assert.equal((await link('v0'))?.master, await index('br0'));
        const eth0 = await link('eth0', test.container);
        assert.deepEqual(
          [eth0?.kind, eth0?.mac, eth0?.mtuBytes, eth0?.up],
          ['veth', '02:42:0a:4d:00:05', 1450, false],
        );
      }
      await apply({ op: 'link-set', name: 'v0', master: null });
      assert.equal((await link('v0'))?.master, undefined);
    });

    it('tells the ends of a tunnel, the other end of a veth, and how a port behaves', async () => {
      await apply(...BRIDGE, VXLAN, veth());
      const { vni, localAddress, port } = VXLAN;
      assert.deepEqual((await link('vx0'))?.vxlan, { vni, localAddress, port, learning: false });
      assert.equal((await link('vx0'))?.port, undefined);
      const [v0, eth0] = [await link('v0'), await link('eth0', test.container)];
      assert.deepEqual([v0?.peer, eth0?.peer], [eth0?.index, v0?.index]);
      await apply(
        { op: 'link-set', name: 'v0', master: 'br0' },
        { op: 'bridge-port', name: 'v0', learning: false, proxyArp: true, hairpin: true },
      );
      assert.deepEqual((await link('v0'))?.port, {
        learning: false,
        flood: true,
        mcastFlood: true,
        bcastFlood: true,
        neighSuppress: false,
        proxyArp: true,
        hairpin: true,
        isolated: false,
      });
    });

    it('reads kernel parameters back, those that there are', async () => {
      const values = { 'net.ipv4.ip_forward': '1', 'net/ipv4/conf/lo/rp_filter': '2' };
      await test.kernel.namespaces.setSysctls(values, test.host);
      const names = [...Object.keys(values), 'net.ipv4.no_such_parameter'];
      assert.deepEqual(await test.kernel.namespaces.sysctls(names, test.host), values);
    });

    it('renames a link, and does it again', async () => {
      await apply(veth());
      for (let i = 0; i < 2; i++) {
        await test.kernel.netlink.apply(
          [{ op: 'link-set', name: 'eth0', newName: 'eth7' }],
          test.container,
        );
        assert.equal((await link('eth7', test.container))?.mac, '02:42:0a:4d:00:05');
        assert.equal(await link('eth0', test.container), undefined);
      }
    });

    it('moves a link to another namespace, and does it again', async () => {
      for (let i = 0; i < 2; i++) {
        if (i === 0) await apply(VXLAN);
        await apply({ op: 'link-set', name: 'vx0', netns: test.container });
        assert.equal(await link('vx0'), undefined);
        assert.equal((await link('vx0', test.container))?.kind, 'vxlan');
      }
    });

    it('sets and takes away forwarding entries, neighbours, routes and rules, twice each', async () => {
      await apply(...BRIDGE, VXLAN, { op: 'link-set', name: 'vx0', master: 'br0', up: true });
      const entries = [
        { op: 'fdb-add', link: 'vx0', mac: '02:42:0a:4d:00:09', where: 'master' },
        {
          op: 'fdb-add',
          link: 'vx0',
          mac: '02:42:0a:4d:00:09',
          where: 'self',
          destination: '192.0.2.7',
        },
        { op: 'neigh-add', link: 'br0', address: '10.77.0.9', mac: '02:42:0a:4d:00:09' },
        { op: 'route-add', destination: '10.78.0.0/16', via: '10.77.0.9', link: 'br0' },
        {
          op: 'route-add',
          destination: 'default',
          via: '169.254.7.1',
          link: 'br0',
          onlink: true,
          table: 1101,
        },
      ] as const satisfies NetlinkOp[];
      for (let i = 0; i < 2; i++) await apply(...entries);
      const [br0, vx0] = [await index('br0'), await index('vx0')];
      const { netlink } = test.kernel;
      // kernels differ in which of the two tables they tell first, older ones tell one of them twice
      const told = new Map((await setFdb()).map((entry) => [entry.where, entry]));
      const mac = '02:42:0a:4d:00:09';
      assert.deepEqual(
        told,
        new Map<string, object>([
          ['master', { link: vx0, mac, where: 'master' }],
          ['self', { link: vx0, mac, where: 'self', destination: '192.0.2.7' }],
        ]),
      );
      assert.deepEqual(await netlink.neighbours(test.host), [
        { link: br0, address: '10.77.0.9', mac: '02:42:0a:4d:00:09' },
      ]);
      const ownRoutes = async () =>
        (await netlink.routes(test.host)).filter((r) => r.via !== undefined);
      assert.deepEqual(
        (await ownRoutes()).sort((a, b) => a.table - b.table),
        [
          { destination: '10.78.0.0/16', via: '10.77.0.9', link: br0, table: 254 },
          { destination: 'default', via: '169.254.7.1', link: br0, table: 1101 },
        ],
      );
      const removals = entries.map(
        (e) => ({ ...e, op: e.op.replace('-add', '-del') }) as NetlinkOp,
      );
      for (let i = 0; i < 2; i++) await apply(...removals);
      assert.deepEqual(
        [await setFdb(), await netlink.neighbours(test.host), await ownRoutes()],
        [[], [], []],
      );
    });

    it('points an endpoint that moved to its new host', async () => {
      await apply(...BRIDGE, VXLAN);
      for (const destination of ['192.0.2.7', '192.0.2.8']) {
        await apply({
          op: 'fdb-add',
          link: 'vx0',
          mac: '02:42:0a:4d:00:09',
          where: 'self',
          destination,
        });
      }
      assert.deepEqual(
        (await setFdb()).map((e) => e.destination),
        ['192.0.2.8'],
      );
    });

    it('removes links, and what is not there, without a word', async () => {
      await apply(...BRIDGE, veth());
      for (let i = 0; i < 2; i++) {
        await apply({ op: 'link-del', name: 'br0' }, { op: 'link-del', name: 'v0' });
      }
      await apply(
        { op: 'address-del', link: 'br0', cidr: '10.77.0.1/24' },
        { op: 'neigh-del', link: 'br0', address: '10.77.0.9', mac: '02:42:0a:4d:00:09' },
        { op: 'route-del', destination: '10.78.0.0/16', link: 'br0' },
      );
      assert.equal(await link('br0'), undefined);
      assert.equal(await link('eth0', test.container), undefined);
    });

    it('refuses what needs a link that is not there, and does all the rest', async () => {
      await assert.rejects(
        apply(
          ...BRIDGE,
          { op: 'address-add', link: 'nope', cidr: '10.0.0.1/8' },
          { op: 'link-set', name: 'neither', up: true },
          VXLAN,
          { op: 'link-set', name: 'vx0', master: 'br0', up: true },
        ),
        (error) => isKind(error, 'not-found') && /nope/.test(String(error)),
      );
      assert.equal((await link('vx0'))?.master, await index('br0'));
    });

    it('refuses another link under a name that is taken', async () => {
      await apply(...BRIDGE, VXLAN);
      await assert.rejects(apply({ ...VXLAN, name: 'br0' }), (e) => isKind(e, 'already-exists'));
      await assert.rejects(apply({ ...VXLAN, vni: 4243 }), (e) => isKind(e, 'already-exists'));
    });

    it('refuses a namespace that is not there', async () => {
      await test.kernel.namespaces.dropNetns(test.container);
      await assert.rejects(test.kernel.netlink.links(test.container), (e) =>
        isKind(e, 'not-found'),
      );
      assert.equal(await test.kernel.namespaces.hasNetns(test.container), false);
      assert.equal(await test.kernel.namespaces.hasNetns(test.host), true);
    });

    it('forgets a namespace of former life that had the same path', async () => {
      await apply(...BRIDGE);
      await test.kernel.namespaces.dropNetns(test.host);
      await test.kernel.namespaces.createNetns(test.host);
      assert.deepEqual(
        (await test.kernel.netlink.links(test.host)).map((l) => l.name),
        ['lo'],
      );
    });
  });
}
