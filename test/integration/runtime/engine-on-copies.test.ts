import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { silentLogger, type Logger } from '../../../common/logger.js';
import { openKernel } from '../../../linux/kernel.js';
import type { Kernel } from '../../../linux/ports.js';
import type { Engine } from '../../../runtime/engine.js';
import { openEngine, type EngineOptions } from '../../../runtime/open-engine.js';
import { readOfferedIds } from '../../../runtime/oci/subordinate-ids.js';
import { openSnapshotter } from '../../../runtime/snapshot/open-snapshotter.js';
import { aContainer, runToEnd } from '../../support/container-rig.js';
import { cleanUp } from '../../support/clean-up.js';
import { busyboxImage, dockerArchive, streamOf } from '../../support/image-fixtures.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

const SCRIPT = 'cat /etc/said; echo more >> /etc/said; touch /srv; ls /etc/said /srv';

/** A machine whose disk is itself an overlay, on which no other can be mounted: as in a container. */
describe('an engine where overlayfs cannot be had', () => {
  let root: string;
  let disk: string;
  let kernel: Kernel;
  let engine: Engine | undefined;
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (message) => warnings.push(message) };
  const cgroupParent = `/hatoba-test-runtime-${process.pid}-copies`;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon']) requiresCommand(this, command);
    root = mkdtempSync('/var/tmp/ht-copies-');
    chmodSync(root, 0o711);
    const [lower = '', upper = '', work = '', target = ''] = ['lower', 'upper', 'work', 'disk'].map(
      (name) => join(root, name),
    );
    for (const folder of [lower, upper, work, target]) mkdirSync(folder);
    disk = target;
    kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    await kernel.mounts.overlay({ lowerDirs: [lower], upperDir: upper, workDir: work, target });
  });
  after(async () => {
    const opened = kernel as Kernel | undefined;
    if (opened === undefined) return;
    await cleanUp(
      () => opened.mounts.unmount(disk),
      () => opened[Symbol.asyncDispose](),
      () => assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(root), 'a mount is left'),
      () => rmSync(root, { recursive: true }),
    );
  });
  beforeEach(async () => {
    engine = await open({});
  });
  afterEach(async () => {
    for (const { config } of engine?.containers.list() ?? []) {
      await engine?.containers.remove(config.id, { force: true });
    }
    await engine?.[Symbol.asyncDispose]();
    engine = undefined;
  });

  async function open(options: Partial<EngineOptions>): Promise<Engine> {
    const folders = { stateDir: join(disk, 'state'), runDir: join(root, 'run') };
    return await openEngine(
      { ...folders, cgroupParent, insecureRegistries: [], ...options },
      { kernel, clock: systemClock, random: systemRandom, logger },
    );
  }

  async function load(): Promise<Engine> {
    assert.ok(engine !== undefined);
    const files = [{ name: 'etc/said', content: 'by a layer\n' }];
    const image = await busyboxImage({ tag: 'box:1', files, applets: ['touch'] });
    await engine.images.load(streamOf(await dockerArchive(image), 1 << 20));
    return engine;
  }

  it('copies the layers by itself, says so, and runs containers on them', async () => {
    const { containers, images } = await load();
    assert.deepEqual(warnings, ['Copying layers, as overlayfs does not work here']);
    assert.equal((await images.inspect('box:1')).snapshotter, 'copy');
    const config = aContainer('one', ['sh', '-c', SCRIPT], { image: 'box:1' });
    const expected = ['by a layer', '/etc/said', '/srv'].map((line) => `stdout: ${line}`);
    const run = await runToEnd(containers, config);
    assert.deepEqual(run.output, expected);
    const other = await runToEnd(
      containers,
      aContainer('two', ['cat', '/etc/said'], { image: 'box:1' }),
    );
    assert.deepEqual(other.output, ['stdout: by a layer'], 'another one has a copy of its own');
    const changes = await containers.diff('one');
    assert.ok(changes.some(({ path }) => path === '/srv'));
    await containers.start('one');
    await containers.wait('one');
    const kept = readFileSync(join(disk, 'state/snapshots/one/rootfs/etc/said'), 'utf8');
    assert.equal(kept, 'by a layer\nmore\nmore\n');
  });

  it('gives containers users of their own too', async () => {
    const { containers } = await load();
    await kernel.namespaces.createNetns(join(root, 'run/netns/own'));
    try {
      const script = ['sh', '-c', 'id -u; touch /srv; cat /etc/said'];
      const config = aContainer(
        'own',
        script,
        { image: 'box:1', usernsMode: 'remap' },
        { netns: join(root, 'run/netns/own') },
      );
      const { output } = await runToEnd(containers, config);
      assert.deepEqual(output, ['stdout: 0', 'stdout: by a layer']);
      const { uid } = statSync(join(disk, 'state/snapshots/own/rootfs/srv'));
      assert.equal(uid, readOfferedIds().uids.firstId);
      await containers.remove('own', { force: true });
    } finally {
      await kernel.namespaces.dropNetns(join(root, 'run/netns/own'));
    }
  });

  it('does what it is told to, where it is told', async () => {
    const modules = { kernel, logger };
    assert.equal((await openSnapshotter(join(disk, 'x'), 'overlay', modules)).name, 'overlay');
    mkdirSync(join(root, 'plain'));
    assert.equal((await openSnapshotter(join(root, 'plain'), undefined, modules)).name, 'overlay');
    assert.equal((await openSnapshotter(join(root, 'plain'), 'copy', modules)).name, 'copy');
  });
});
