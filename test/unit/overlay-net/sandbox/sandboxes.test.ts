import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../common/logger.js';
import { Sandboxes, type Ground } from '../../../../overlay-net/sandbox/sandboxes.js';
import { network } from '../../../integration/overlay-net/cluster.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { RecordingKernel } from '../../../support/recording-kernel.js';

const ground: Ground = {
  networks: new Map([['app', network('app', 1)]]),
  underlay: { address: '192.0.2.1', mtuBytes: 1500 },
};
const attachments = [{ networkId: 'app', address: '10.128.1.7/24' }];

describe('links of no sandbox', () => {
  let folder: string;
  let kernel: RecordingKernel;
  let clock: FakeClock;
  let sandboxes: Sandboxes;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ht-sandboxes-'));
    kernel = new RecordingKernel();
    clock = new FakeClock();
    const { netlink, namespaces } = kernel;
    sandboxes = new Sandboxes(
      { stateDir: join(folder, 'state'), runDir: join(folder, 'run') },
      { netlink, namespaces, clock, logger: silentLogger },
    );
    await netlink.apply([{ op: 'link-add', kind: 'bridge', name: 'hb1001' }]);
    await namespaces.createNetns('/run/other');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** As if the namespace of a link had not ended. */
  const keepLink = (name: string): Promise<void> =>
    kernel.netlink.apply([
      { op: 'link-add', kind: 'veth', name, peer: { name, netns: '/run/other' } },
    ]);
  const hostLinks = async (): Promise<string[]> =>
    (await kernel.netlink.links()).map((l) => l.name).filter((name) => name.startsWith('hs'));

  it('are taken away when they are seen again', async () => {
    const checks = sandboxes.checks(() => ground);
    await keepLink('hs000000000001');
    assert.equal(await checks.isSuspect(), false);
    assert.equal(await checks.isSuspect(), true);
    assert.deepEqual(await checks.repair(), [
      { change: 'removed', what: 'link hs000000000001 of no sandbox' },
    ]);
    assert.deepEqual(await hostLinks(), []);
  });

  it('are left to the kernel for a minute, if their sandbox has ended', async () => {
    const checks = sandboxes.checks(() => ground);
    await sandboxes.create({ id: 'box', attachments, hostPorts: [] }, ground);
    const [link = ''] = await hostLinks();
    await sandboxes.remove('box');
    await keepLink(link);
    for (let look = 0; look < 3; look++) assert.equal(await checks.isSuspect(), false);
    await clock.advance(60_000);
    assert.equal(await checks.isSuspect(), false);
    assert.equal(await checks.isSuspect(), true);
  });
});
