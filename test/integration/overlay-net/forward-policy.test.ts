import assert from 'node:assert/strict';
import type { NetworkState, Sandbox } from '../../../overlay-net/driver.js';
import { eventually } from '../../support/eventually.js';
import { askTcp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';

/** What Docker sets up, and what a user adds to it. */
const DOCKER = `
TOOL -P FORWARD DROP
TOOL -N DOCKER-USER
TOOL -N DOCKER
TOOL -A FORWARD -j DOCKER-USER
TOOL -A FORWARD -o docker0 -j DOCKER
TOOL -A FORWARD -i docker0 -j ACCEPT
TOOL -A DOCKER-USER -s 198.51.100.0/24 -j DROP
TOOL -A DOCKER-USER -j RETURN`;

const OURS = /--comment hatoba /;

/**
 * Two hosts that forward nothing unless a rule says so: iptables on nftables on n1, the older one on
 * n2, which is there (with its own table) only where the kernel has it.
 */
describe('hosts that refuse to forward', function () {
  let lab: NetLab;
  let n1: LabHost, n2: LabHost;
  let outside = '';
  let close = (): Promise<void> => Promise.resolve();
  const box = new Map<string, Sandbox>();
  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);
  const tools = new Map<LabHost, string>();

  before(async function () {
    requiresRoot(this);
    const programs = ['ip', 'nft', 'nsenter', 'busybox', 'iptables-nft', 'iptables-legacy'];
    for (const command of programs) requiresCommand(this, command);
    lab = new NetLab();
    close = () => lab.close();
    outside = `/run/netns/${lab.client}`;
    [n1, n2] = [await lab.addHost(), await lab.addHost()];
    tools.set(n1, 'iptables-nft').set(n2, 'iptables-legacy');
    const state: Omit<NetworkState, 'nodeId'> = {
      networks: [
        network('ingress', 0, { ingress: true }),
        network('app', 1),
        network('local', 9, {
          driver: 'bridge',
          subnets: [{ subnet: '172.30.0.0/16', gateway: '172.30.0.1' }],
          vni: 0,
        }),
      ],
      endpoints: [
        endpoint('ingress', 'n1', 'web', 1, '10.128.0.21'),
        endpoint('app', 'n1', '', 1, '10.128.1.11'),
        endpoint('app', 'n2', '', 2, '10.128.1.12'),
        endpoint('local', 'n2', '', 3, '172.30.0.2'),
      ],
      services: [service('ingress', 'web', '10.128.0.5', { ports: [ingressPort(8080)] })],
      peers: peers(lab.hosts),
    };
    for (const [host, tool] of tools) {
      assert.equal(await runIn(host.netnsPath, 'sh', '-ec', DOCKER.replaceAll('TOOL', tool)), '');
    }
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    await attach(n1, 'web', 'ingress', '10.128.0.21/24');
    await attach(n1, 'app1', 'app', '10.128.1.11/24');
    await attach(n2, 'app2', 'app', '10.128.1.12/24');
    await attach(n2, 'local', 'local', '172.30.0.2/16');
    await lab.serve(outside, 'outside');
  });
  after(() => close());

  async function attach(host: LabHost, id: string, on: string, address: string): Promise<void> {
    const hostPorts =
      id === 'local'
        ? [{ protocol: 'tcp' as const, hostIp: '', publishedPort: 9000, targetPort: 80 }]
        : [];
    const attachments = [{ networkId: on, address }];
    const sandbox = await host.attach({ id, attachments, hostPorts });
    box.set(id, sandbox);
    await lab.serve(sandbox.netnsPath, id);
  }

  async function passesEverywhere(): Promise<void> {
    assert.equal(await askTcp(path('app1'), '10.128.1.12'), 'app2 10.128.1.11');
    assert.equal(await askTcp(path('app2'), '10.128.1.11'), 'app1 10.128.1.12');
    for (const host of lab.hosts) {
      assert.equal(await askTcp(outside, host.address, 8080), 'web 192.0.2.50');
    }
    assert.equal(await askTcp(outside, n2.address, 9000), 'local 192.0.2.50');
    assert.equal(await askTcp(path('local'), '192.0.2.50'), `outside ${n2.address}`);
    assert.equal(await askTcp(path('app1'), '192.0.2.50'), `outside ${n1.address}`);
  }

  const rules = async (host: LabHost): Promise<string[]> => {
    const text = await runIn(host.netnsPath, tools.get(host) ?? '', '-S');
    return text.split('\n').filter((line) => line !== '');
  };
  const theirs = DOCKER.trim()
    .split('\n')
    .map((line) => line.replace('TOOL ', ''));

  it('let all that is bridged, published or goes out pass', () => passesEverywhere());

  it('hold their own rules as they were, and ours behind those of the user', async () => {
    for (const host of lab.hosts) {
      const all = await rules(host);
      const others = all.filter((line) => !OURS.test(line));
      assert.deepEqual(
        others.filter((l) => !/^-P (INPUT|OUTPUT) ACCEPT$/.test(l)).sort(),
        [...theirs].sort(),
      );
      const user = all.filter((line) => line.startsWith('-A DOCKER-USER '));
      assert.deepEqual(
        user.map((line) => line.replace('-A DOCKER-USER ', '')),
        [
          '-s 198.51.100.0/24 -j DROP',
          ...['-i hb+', '-i hl+', '-o hb+', '-o hl+'].map(
            (what) => `${what} -m comment --comment hatoba -j ACCEPT`,
          ),
          '-j RETURN',
        ],
      );
    }
  });

  it('are mended after someone else has flushed them', async () => {
    for (const [host, tool] of tools) {
      await runIn(host.netnsPath, tool, '-F');
      assert.equal((await rules(host)).filter((line) => OURS.test(line)).length, 0);
    }
    await eventually(passesEverywhere, { timeoutMs: 60_000 });
    // nothing leads to DOCKER-USER any more
    for (const host of lab.hosts) {
      const ours = (await rules(host)).filter((line) => OURS.test(line));
      assert.ok(
        ours.every((line) => line.startsWith('-A FORWARD ')),
        ours.join('\n'),
      );
      assert.equal(ours.length, 4);
    }
  });

  it('have none of our rules once they forward all, nor after the end of the networks', async () => {
    const [nft = '', legacy = ''] = [...tools.values()];
    await runIn(n1.netnsPath, nft, '-P', 'FORWARD', 'ACCEPT');
    const ours = async (host: LabHost): Promise<number> =>
      (await rules(host)).filter((line) => OURS.test(line)).length;
    await eventually(async () => assert.equal(await ours(n1), 0), { timeoutMs: 60_000 });
    assert.equal(await ours(n2), 4);
    await lab.stopServers();
    await n2.teardown();
    assert.equal(await ours(n2), 0);
    assert.match(await runIn(n2.netnsPath, legacy, '-S', 'FORWARD'), /^-P FORWARD DROP$/);
  });
});
