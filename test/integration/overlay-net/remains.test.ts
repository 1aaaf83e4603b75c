import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openKernel } from '../../../linux/kernel.js';
import type { Kernel } from '../../../linux/ports.js';
import { compareLinks } from '../../../overlay-net/core/link-drift.js';
import { observeLinks } from '../../../overlay-net/core/link-observe.js';
import { planLinks } from '../../../overlay-net/core/link-plan.js';
import type { NetworkState } from '../../../overlay-net/driver.js';
import { eventually } from '../../support/eventually.js';
import { askTcp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { seededRandom } from '../../support/seeded-random.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';

/** What leaks in one cycle shows in a few; NETWORK_CYCLES=1000 is for who wants to be sure. */
const CYCLES = Number(process.env['NETWORK_CYCLES'] ?? 25);
const CRASHES = 5;

type State = Omit<NetworkState, 'nodeId'>;

describe('what a host had before', function () {
  let lab: NetLab;
  let host: LabHost;
  let kernel: Kernel;
  let close = (): Promise<void> => Promise.resolve();

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'bridge', 'nft', 'nsenter', 'busybox']) {
      requiresCommand(this, command);
    }
    lab = new NetLab();
    kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    close = async () => {
      await kernel[Symbol.asyncDispose]();
      await lab.close();
    };
    host = await lab.addHost();
  });
  after(() => close());

  /** Some networks with a task each, by a number. */
  function makeState(seed: number): State {
    const thirds = [1, 2, 3, 4].filter((third) => ((seed >> third) & 1) === 1);
    return {
      networks: [
        network('ingress', 0, { ingress: true }),
        ...thirds.map((third) => network(`net${third}`, third)),
      ],
      endpoints: thirds.flatMap((third) => [
        endpoint(`net${third}`, 'n1', 'api', 1, `10.128.${third}.${10 + (seed % 5)}`),
        endpoint(`net${third}`, 'n2', 'api', 2, `10.128.${third}.${20 + (seed % 7)}`),
      ]),
      services: [
        ...thirds.map((third) => service(`net${third}`, 'api', `10.128.${third}.2`)),
        service('ingress', 'api', '', { ports: [ingressPort(8000 + seed)] }),
      ],
      peers: [
        ...peers(lab.hosts),
        { nodeId: 'n2', index: 2, dataPathAddress: `192.0.2.${60 + (seed % 3)}` },
      ],
    };
  }

  /** The kernel of the host against the plan, entry by entry. */
  async function assertIs(state: State): Promise<void> {
    const netns = host.netnsPath;
    const { netlink } = kernel;
    const dump = {
      links: await netlink.links(netns),
      addresses: await netlink.addresses(netns),
      neighbours: await netlink.neighbours(netns),
      fdb: await netlink.fdb(netns),
      routes: await netlink.routes(netns),
    };
    const underlay = { address: host.address, mtuBytes: 1500 };
    const wanted = planLinks({ ...state, nodeId: 'n1' }, underlay);
    assert.deepEqual(compareLinks(observeLinks(dump), wanted), []);
    assert.deepEqual(await host.checkDrift(), []);
  }

  const sandboxLinks = async (): Promise<string[]> =>
    (await kernel.netlink.links(host.netnsPath)).flatMap(({ name }) =>
      name.startsWith('hs') ? [name] : [],
    );
  const namespaces = (): string[] => readdirSync(join(host.folder, 'run/netns'));

  it('does not outlive the first state of the next process, wherever the last one was killed', async () => {
    const random = seededRandom(20261122);
    const anySeed = (): number => 2 + Math.floor(random.next() * 29);
    for (let crash = 0; crash < CRASHES; crash++) {
      const seed = anySeed();
      const state = makeState(seed);
      const doomed = (async () => {
        await host.apply(makeState(anySeed()));
        await host.apply(state);
        for (const { networkId, nodeId, address } of state.endpoints) {
          if (nodeId !== 'n1') continue;
          const attachments = [{ networkId, address: `${address}/24` }];
          await host.attach({ id: `${networkId}-${crash}`, attachments, hostPorts: [] });
        }
      })();
      doomed.catch(() => undefined);
      // some way into it, by what it has got to: a bridge, a table, a namespace
      const marks = [/hb100/, /hv100/, /table ip hatoba/, /hs[0-9a-f]{12}/];
      const mark = marks[crash % marks.length] ?? /hb/;
      const look = ['sh', '-c', 'ip -br link; nft list tables'];
      await eventually(async () => assert.match(await runIn(host.netnsPath, ...look), mark), {
        timeoutMs: 2000,
        everyMs: 1,
      }).catch(() => undefined);
      await host.stop();
      await host.start();
      const next = makeState(anySeed());
      await host.apply(next);
      for (const { id } of await host.list()) await host.detach(id);
      await assertIs(next);
      assert.deepEqual(namespaces(), []);
      await eventually(async () => assert.deepEqual(await sandboxLinks(), []));
    }
  });

  it('is taken away, whoever has left it', async () => {
    const state = makeState(30);
    await host.apply(state);
    await host.attach({
      id: 'stays',
      attachments: [{ networkId: 'net1', address: '10.128.1.10/24' }],
      hostPorts: [],
    });
    await lab.serve(join(host.folder, 'run/netns/stays'), 'stays');
    await host.stop();
    const remains = [
      'ip link add hbfff type bridge; ip link set hbfff up; ip address add 10.9.9.1/24 dev hbfff',
      'ip link add hvfff type vxlan id 4095 local 192.0.2.1 dstport 4789 nolearning',
      'ip link add hs00000000dead type veth peer name hs00000000beef',
      'ip link set hs00000000dead master hb1001 up',
      'ip route add default via 169.254.0.9 dev hb1000 onlink table 1207959561',
      'ip address add 10.128.1.200/32 dev hb1001',
      'ip neigh add 10.128.1.201 lladdr 02:42:0a:80:01:c9 dev hb1001 nud permanent',
      'bridge fdb add 02:42:0a:80:01:c9 dev hv1001 self dst 192.0.2.77',
      'nft add element ip hatoba bridges { "hbfff" }; nft add chain ip hatoba former',
      `touch ${join(host.folder, 'run/netns/half')}`,
    ].join('; ');
    assert.equal(await runIn(host.netnsPath, 'sh', '-ec', remains), '');
    await host.start();
    await host.apply(state);
    await assertIs(state);
    assert.deepEqual(namespaces(), ['stays']);
    await eventually(async () => assert.equal((await sandboxLinks()).length, 1));
    assert.doesNotMatch(await runIn(host.netnsPath, 'nft', 'list', 'ruleset'), /former|hbfff/);
    assert.equal(await askTcp(host.netnsPath, '10.128.1.10'), 'stays 10.128.1.1');
    const ofIpv6 = await runIn(host.netnsPath, 'ip', '-6', '-oneline', 'address');
    assert.doesNotMatch(ofIpv6, /\bh[bls][0-9a-f]+\b/, 'nothing speaks IPv6 to containers');
    await lab.stopServers();
    await host.detach('stays');
  });

  it('keeps no network from being made but the one in whose way it is', async () => {
    const state = makeState(0b110);
    const { netnsPath } = host;
    await host.apply(makeState(0));
    const tunnel = `ip link add other type vxlan id 4097 local ${host.address} dstport 4789`;
    assert.equal(await runIn(netnsPath, 'sh', '-ec', tunnel), '');
    await assert.rejects(host.apply(state), /link-add vxlan hv1001/);
    const look = 'ip -br link; ip -br address; bridge fdb; nft list map ip hatoba vip_chains';
    const there = await runIn(netnsPath, 'sh', '-c', look);
    const traces = [/\bhv1002\b/, /10\.128\.2\.2\/32/, /02:42:0a:80:02:1a dev hv1002 dst/];
    for (const trace of [...traces, /"hb1002" \. 10\.128\.2\.2 : goto n2/]) {
      assert.match(there, trace);
    }
    await runIn(netnsPath, 'ip', 'link', 'del', 'other');
    await eventually(() => assertIs(state));
  });

  it('is no gateway that has moved within its subnet', async () => {
    const state = makeState(0b10);
    const networks = state.networks.map((n) =>
      n.networkId === 'net1'
        ? { ...n, subnets: [{ subnet: '10.128.1.0/24', gateway: '10.128.1.254' }] }
        : n,
    );
    for (const next of [state, { ...state, networks }, state]) {
      await host.apply(next);
      await assertIs(next);
    }
  });

  it('is nothing, after networks, services and sandboxes have come and gone', async () => {
    const nothing: State = { networks: [], endpoints: [], services: [], peers: peers(lab.hosts) };
    await host.apply(nothing);
    await eventually(async () => assert.deepEqual(await sandboxLinks(), []));
    const look = async (): Promise<string> => {
      const lists =
        'ip -br link; ip -4 -br address; ip route show table all; ip rule; ip neigh show nud permanent';
      const seen = await runIn(
        host.netnsPath,
        ...['sh', '-c', `${lists}; bridge fdb; nft list ruleset; ls /proc/sys/net/ipv4/conf`],
      );
      return seen
        .replaceAll(/^chain [npqc]+\d+[^}]*\}/gm, '')
        .replaceAll(/^.*(fe80|ff00).*\n/gm, '');
    };
    /** Chains that pick one of some backends are kept, being few: made once, here. */
    const cycle = async (i: number): Promise<void> => {
      const state = makeState(2 + (i % 30));
      await host.apply(state);
      for (const { networkId, nodeId, address } of state.endpoints) {
        if (nodeId !== 'n1') continue;
        const attachments = [{ networkId, address: `${address}/24` }];
        await host.attach({ id: `${networkId}.${i}`, attachments, hostPorts: [] });
      }
      for (const { id } of await host.list()) await host.detach(id);
      await host.apply(nothing);
    };
    for (let i = 0; i < 2; i++) await cycle(i);
    await eventually(async () => assert.deepEqual(await sandboxLinks(), []));
    const before = await look();
    for (let i = 2; i < CYCLES; i++) await cycle(i);
    await eventually(async () => assert.equal(await look(), before));
    assert.deepEqual(namespaces(), []);
    assert.deepEqual(readdirSync(join(host.folder, 'state/sandboxes')), []);
    assert.deepEqual(await host.checkDrift(), []);
  });
});
