import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { NetlinkOp } from '../../../../linux/ports.js';
import { diffSandbox, EMPTY_VIEW } from '../../../../overlay-net/core/sandbox-diff.js';
import { planSandbox, type SandboxPlan } from '../../../../overlay-net/core/sandbox-plan.js';
import { SandboxLinks } from '../../../../overlay-net/sandbox/sandbox-links.js';
import { RecordingKernel } from '../../../support/recording-kernel.js';
import { network } from '../../../integration/overlay-net/cluster.js';

const NETNS = '/run/sandbox';
const underlay = { address: '192.0.2.1', mtuBytes: 1500 };
const app = network('app', 1, {
  subnets: [
    { subnet: '10.128.1.0/24', gateway: '10.128.1.1' },
    { subnet: '10.129.1.0/24', gateway: '10.129.1.1' },
  ],
});
const closed = network('closed', 3, { internal: true });

const attachments = [
  { networkId: 'closed', address: '10.128.3.7/24' },
  { networkId: 'app', address: '10.129.1.7/24' },
];
const plan: SandboxPlan = planSandbox(
  { id: 'box', attachments, hostPorts: [] },
  [
    { network: closed, hostLink: 'hs000000000001' },
    { network: app, hostLink: 'hs000000000002' },
  ],
  underlay,
);

/** What may happen to a live sandbox, in the host's namespace or (true) in its own. */
const DAMAGES: readonly (readonly [inside: boolean, op: NetlinkOp])[] = [
  [false, { op: 'link-del', name: 'hs000000000001' }],
  [false, { op: 'link-set', name: 'hs000000000002', up: false }],
  [false, { op: 'link-set', name: 'hs000000000002', master: null }],
  [false, { op: 'link-set', name: 'hs000000000001', mtuBytes: 1000 }],
  [false, { op: 'bridge-port', name: 'hs000000000002', hairpin: false, isolated: true }],
  [true, { op: 'link-set', name: 'eth1', up: false }],
  [true, { op: 'link-set', name: 'eth1', mtuBytes: 1000, mac: '02:00:00:00:00:01' }],
  [true, { op: 'link-set', name: 'eth1', newName: 'lost' }],
  [true, { op: 'address-del', link: 'eth1', cidr: '10.129.1.7/24' }],
  [true, { op: 'route-del', destination: 'default', via: '10.129.1.1', link: 'eth1' }],
  [true, { op: 'link-del', name: 'eth0' }],
];

async function makeKernel(): Promise<RecordingKernel> {
  const kernel = new RecordingKernel();
  await kernel.namespaces.createNetns(NETNS);
  await kernel.netlink.apply([
    { op: 'link-add', kind: 'bridge', name: 'hb1001' },
    { op: 'link-add', kind: 'bridge', name: 'hb1003' },
  ]);
  await new SandboxLinks(kernel).create(plan, NETNS);
  return kernel;
}

/** The kernel makes it with the address; the one in memory does not. */
async function addSubnetRoutes(kernel: RecordingKernel): Promise<void> {
  const routes = [
    ['eth0', '10.128.3.0/24'],
    ['eth1', '10.129.1.0/24'],
  ] as const;
  for (const [link, destination] of routes) {
    await kernel.netlink.apply([{ op: 'route-add', destination, link }], NETNS);
  }
}

describe('links of sandboxes', () => {
  it('lead to the outside by the first network that has a way, and to its other subnets', () => {
    const { links, nameservers, defaultAddress } = plan;
    assert.deepEqual(
      links.map((l) => l.routes),
      [
        [],
        [
          { destination: '10.128.1.0/24', via: '10.129.1.1' },
          { destination: 'default', via: '10.129.1.1' },
        ],
      ],
    );
    assert.deepEqual(nameservers, ['10.128.3.1', '10.129.1.1']);
    assert.equal(defaultAddress, '10.129.1.7');
  });

  it('are made by their difference from nothing', () => {
    const { before, host, inside, repairs } = diffSandbox(plan, NETNS, EMPTY_VIEW);
    assert.deepEqual([before.length, host.length, repairs.length], [0, 6, 2]);
    const last = { op: 'route-add', destination: 'default', via: '10.129.1.1', link: 'eth1' };
    assert.deepEqual(inside.at(-1), last);
  });

  it('are as planned after any damage is repaired, and nothing more is found', async () => {
    const damages = fc.uniqueArray(fc.constantFrom(...DAMAGES), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(damages, async (done) => {
        const kernel = await makeKernel();
        await addSubnetRoutes(kernel);
        const links = new SandboxLinks(kernel);
        assert.equal(await links.differ(plan, NETNS), false);
        for (const [inside, op] of done) {
          // what an earlier damage took away cannot be damaged again
          await kernel.netlink.apply([op], inside ? NETNS : undefined).catch(() => undefined);
        }
        const repairs = await links.repair(plan, NETNS);
        assert.ok(repairs.length > 0);
        assert.equal(await links.differ(plan, NETNS), false);
      }),
    );
  });
});
