import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { silentLogger } from '../../../common/logger.js';
import { openKernel } from '../../../linux/kernel.js';
import type { Kernel } from '../../../linux/ports.js';
import { DiskUsage } from '../../../proto/gen/hatoba/v1/engine.js';
import { MountType } from '../../../proto/gen/hatoba/v1/types.js';
import { DEFAULT_GARBAGE_RULES } from '../../../runtime/core/garbage-plan.js';
import type { ImageUser } from '../../../runtime/core/image-removal.js';
import { LocalEngineSystem } from '../../../runtime/disk/engine-system.js';
import type { Engine, EngineDiskUsage, GarbageRules } from '../../../runtime/engine.js';
import { EventBus } from '../../../runtime/events/event-bus.js';
import { openEngine } from '../../../runtime/open-engine.js';
import { aContainer, runExec, runToEnd } from '../../support/container-rig.js';
import { cleanUp } from '../../support/clean-up.js';
import { FakeClock } from '../../support/fake-clock.js';
import { diskUse } from '../../support/file-tree.js';
import { busyboxImage, makeImage, ociArchive, streamOf } from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

const HOUR = 3_600_000;

function assertWithin(bytes: number, least: number, most: number): void {
  assert.ok(bytes >= least && bytes <= most, `${bytes} are not from ${least} to ${most}`);
}

describe('disk usage of the engine', function () {
  let root: string;
  let kernel: Kernel;
  let engine: Engine;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon']) requiresCommand(this, command);
    root = mkdtempSync('/var/tmp/ht-disk-');
    kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    engine = await openEngine(
      {
        stateDir: join(root, 'state'),
        runDir: join(root, 'run'),
        cgroupParent: `/hatoba-test-runtime-${process.pid}-disk`,
        insecureRegistries: [],
      },
      { kernel, clock: systemClock, random: systemRandom, logger: silentLogger },
    );
  });

  after(async () => {
    const opened = engine as Engine | undefined;
    if (opened === undefined) return;
    await cleanUp(
      async () => {
        for (const { config } of opened.containers.list()) {
          await opened.containers.remove(config.id, { force: true });
        }
      },
      () => opened[Symbol.asyncDispose](),
      () => kernel[Symbol.asyncDispose](),
      () => rmSync(root, { recursive: true }),
    );
  });

  /** What `du` says, and that the parts add up to it within one percent. */
  async function assertAsDu(): Promise<EngineDiskUsage> {
    const usage = await engine.system.diskUsage();
    const du = diskUse(join(root, 'state'));
    assert.ok(Math.abs(usage.totalBytes - du) <= du / 100, `${usage.totalBytes} against ${du}`);
    const { images, blobs, containers, volumes, partial, other } = usage;
    const parts = [images, blobs, containers, volumes, partial, other].map(
      (p) => p?.sizeBytes ?? 0,
    );
    assert.equal(
      parts.reduce((a, b) => a + b),
      usage.totalBytes,
    );
    return usage;
  }

  it('adds up to what du says, with containers that run and have ended', async () => {
    const web = await busyboxImage({
      tag: 'web:1',
      applets: ['dd', 'ln', 'seq', 'touch', 'mkdir'],
    });
    const old = await makeImage({
      tags: ['old:1'],
      layers: [[{ name: 'data', content: Buffer.alloc(300_000, 1) }]],
    });
    await engine.images.load(streamOf(await ociArchive([web, old])));
    const empty = await assertAsDu();
    assert.deepEqual([empty.images?.count, empty.images?.active], [2, 0]);
    assert.ok((empty.images?.reclaimableBytes ?? 0) > 1_000_000);

    await engine.containers.create(
      aContainer('run', ['sleep', '1000'], {
        image: 'web:1',
        mounts: [{ type: MountType.VOLUME, source: 'data', target: '/data' }],
      }),
    );
    await engine.containers.start('run');
    const script = [
      'dd if=/dev/zero of=/data/big bs=1000 count=3000',
      'ln /data/big /data/again',
      'dd if=/dev/zero of=/sparse bs=1 count=1 seek=50000000',
      'mkdir /many',
      'for i in $(seq 500); do echo $i >/many/$i; done',
    ];
    const made = await runExec(engine.containers, 'run', ['sh', '-c', script.join(' && ')]);
    assert.equal(made.exitCode, 0, made.stderr);
    await runToEnd(engine.containers, aContainer('ended', ['echo', 'done'], { image: 'web:1' }));

    const usage = await assertAsDu();
    const share = (name: 'images' | 'containers' | 'volumes'): DiskUsage =>
      DiskUsage.fromPartial(usage[name] ?? {});
    const [images, containers, volumes] = [share('images'), share('containers'), share('volumes')];
    assert.deepEqual([images.active, containers.active, volumes.active], [1, 1, 1]);
    assert.deepEqual([containers.count, volumes.reclaimableBytes], [2, 0]);
    assertWithin(images.reclaimableBytes, 300_000, 400_000); // the layer of old:1
    assertWithin(volumes.sizeBytes, 3_000_000, 3_100_000); // a hard link counts once
    assertWithin(containers.sizeBytes, 500 * 4096, 10_000_000); // what is sparse does not
    assert.ok(usage.diskFreeBytes <= usage.diskTotalBytes);
  });

  it('does not remove the image of a container, and tells of what it does', async () => {
    await assert.rejects(
      engine.images.remove('web:1'),
      /used by containers ended, run \(running\)/,
    );
    await engine.images.remove('old:1');
    const actions = engine.system.recentEvents().map((event) => `${event.type} ${event.action}`);
    assert.ok(actions.includes('image load') && actions.includes('image delete'));
    assert.deepEqual(await engine.system.collectGarbage(), { removed: [], reclaimedBytes: 0 });
    await assertAsDu();
  });
});

describe('garbage collection of the engine', () => {
  let rig: ImageRig;
  let users: Map<string, ImageUser[]>;
  let freeBytes: number;
  const clock = new FakeClock(1_800_000_000_000);
  const totalBytes = 1_000_000;

  before(function () {
    requiresRoot(this);
  });

  beforeEach(async () => {
    users = new Map();
    freeBytes = totalBytes;
    rig = await ImageRig.open({
      clock,
      surroundings: {
        events: { emit: () => undefined },
        usersOf: (id) => users.get(id) ?? [],
        containerLayers: () => Promise.resolve([]),
        snapshotter: () => 'overlay',
      },
    });
  });

  afterEach(async () => {
    await rig.close();
  });

  function system(rules: Partial<GarbageRules> = {}): LocalEngineSystem {
    return new LocalEngineSystem({
      root: rig.root,
      rules: { ...DEFAULT_GARBAGE_RULES, ...rules },
      images: rig.images.garbage,
      containers: {
        list: () => [],
        prune: ({ olderThanMs = 0 }) =>
          Promise.resolve({ removed: [`older than ${olderThanMs}`], reclaimedBytes: 5 }),
      },
      volumes: { list: () => Promise.resolve([]) },
      events: new EventBus({ clock, log: silentLogger }),
      clock,
      diskSpace: () => Promise.resolve({ freeBytes, totalBytes }),
    });
  }

  /** An image of so many bytes, loaded now. */
  async function loadImage(name: string, bytes: number): Promise<string> {
    const layers = [[{ name: 'data', content: Buffer.alloc(bytes, name) }]];
    const image = await makeImage({ tags: [name], layers });
    const [loaded] = await rig.images.load(streamOf(await ociArchive([image], { gzip: false })));
    return loaded?.id ?? '';
  }

  it('takes the longest unused images of a full disk, never one that is used', async () => {
    const first = await loadImage('first:1', 40_000);
    const used = await loadImage('used:1', 40_000);
    await clock.advance(HOUR);
    const second = await loadImage('second:1', 40_000);
    const third = await loadImage('third:1', 40_000);
    users.set(used, [{ container: 'app', isRunning: false }]);
    await rig.images.keepDuring('second:1', 'job', () => Promise.resolve());
    await clock.advance(48 * HOUR);
    await loadImage('young:1', 40_000);

    assert.deepEqual(await system().collectGarbage(), { removed: [], reclaimedBytes: 0 });
    freeBytes = 100_000; // 90 % full: 100 kB too many, and each image gives 80
    const collected = await system().collectGarbage();
    assert.equal(collected.removed[0], first);
    assert.deepEqual(collected.removed.slice(1), [[second, third].sort()[0]]);
    assert.ok(collected.reclaimedBytes > 160_000);
    freeBytes = 0;
    assert.deepEqual((await system().collectGarbage()).removed, [[second, third].sort()[1]]);
    const left = (await rig.images.list()).flatMap((image) => image.repoTags).sort();
    assert.deepEqual(left, ['used:1', 'young:1']);
  });

  it('takes what interrupted pulls have left, a week later', async () => {
    await loadImage('kept:1', 1000);
    const days = (count: number): number => clock.nowMs() / 1000 - count * 24 * 3600;
    const files: [string, string, number][] = [
      ['partial', 'a', 8],
      ['partial', 'b', 6],
      ['blobs/sha256', 'c', 8],
      ['blobs/sha256', 'd', 6],
    ];
    for (const [folder, letter, age] of files) {
      const path = rig.path(folder, letter.repeat(64));
      writeFileSync(path, 'half');
      utimesSync(path, days(age), days(age));
    }
    const { removed, reclaimedBytes } = await system().collectGarbage();
    const old = [`partial sha256:${'a'.repeat(64)}`, `blob sha256:${'c'.repeat(64)}`];
    assert.deepEqual([removed.sort(), reclaimedBytes], [old.sort(), 8]);
    assert.deepEqual(readdirSync(rig.path('partial')), ['b'.repeat(64)]);
    assert.equal((await rig.images.list()).length, 1);
  });

  it('stops when it is told to, and removes ended containers only where a rule says so', async () => {
    const aborted = AbortSignal.abort(new Error('enough'));
    await assert.rejects(system().collectGarbage(aborted), /enough/);
    const { removed } = await system({ containerMaxAgeMs: HOUR }).collectGarbage();
    assert.deepEqual(removed, [`older than ${HOUR}`]);
  });
});
