import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  aContainer,
  openContainerRig,
  runToEnd,
  type ContainerRig,
} from '../../support/container-rig.js';
import { diskUse } from '../../support/file-tree.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { collect, inPieces, tarOf, untar } from '../../support/tar-files.js';

const volume = (source: string, target = '/v', more: object = {}) => ({
  mounts: [{ type: 'MOUNT_TYPE_VOLUME' as const, source, target, ...more }],
});

describe('volumes', function () {
  let opened: ContainerRig | undefined;
  let rig: ContainerRig;

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'crun');
    rig = opened = await openContainerRig();
  });
  after(async () => {
    await opened?.close();
  });
  afterEach(async () => {
    for (const { config } of rig.containers.list()) {
      await rig.containers.remove(config.id, { force: true });
    }
    for (const { name } of await rig.volumes.list()) await rig.volumes.remove(name);
  });

  const mounted = (path: string): boolean =>
    readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .some((line) => line.split(' ')[1] === path);

  it('are made, shown, found again and removed', async () => {
    const made = await rig.volumes.create('keep', { labels: { a: 'b' } });
    assert.equal(made.driver, 'local');
    assert.ok(existsSync(made.mountpoint));
    assert.deepEqual(await rig.volumes.create('keep', { labels: { a: 'b' } }), made);
    await assert.rejects(rig.volumes.create('keep', { labels: {} }), { kind: 'already-exists' });
    const random = await rig.volumes.create('', {});
    assert.match(random.name, /^[0-9a-f]{64}$/);
    assert.equal(random.anonymous, true);
    await rig.reopen();
    assert.deepEqual(await rig.volumes.inspect('keep'), made);
    assert.deepEqual(
      (await rig.volumes.list()).map(({ name }) => name),
      [random.name, 'keep'].sort(),
    );
    await rig.volumes.remove('keep');
    assert.ok(!existsSync(made.mountpoint));
    await assert.rejects(rig.volumes.remove('keep'), { kind: 'not-found' });
    await rig.volumes.remove('keep', { force: true });
  });

  it('refuse other drivers, names and options', async () => {
    const wrong = { kind: 'invalid-argument' };
    await assert.rejects(rig.volumes.create('v', { driver: 'zfs' }), wrong);
    await assert.rejects(rig.volumes.create('../v', {}), wrong);
    await assert.rejects(rig.volumes.create('v', { driverOpts: { size: '1' } }), wrong);
    await assert.rejects(rig.volumes.inspect('../../etc'), wrong);
  });

  it('are not removed while a container has them, running or not', async () => {
    await runToEnd(rig.containers, aContainer('c1', ['sh', '-c', 'echo x > /v/f'], volume('keep')));
    assert.deepEqual((await rig.volumes.inspect('keep')).usedBy, ['c1']);
    await assert.rejects(rig.volumes.remove('keep'), {
      kind: 'failed-precondition',
      message: /container c1/,
    });
    assert.deepEqual((await rig.volumes.prune({ all: true })).removed, []);
    await rig.containers.remove('c1');
    const { mountpoint, sizeBytes } = await rig.volumes.inspect('keep', { size: true });
    assert.equal(sizeBytes, diskUse(mountpoint));
    const pruned = await rig.volumes.prune({ all: true });
    assert.deepEqual([pruned.removed, pruned.reclaimedBytes], [['keep'], sizeBytes]);
  });

  it('without a name go with their container, unless they are kept', async () => {
    await runToEnd(rig.containers, aContainer('c2', ['true'], volume('')));
    const [first] = await rig.volumes.list();
    assert.deepEqual([first?.anonymous, first?.usedBy], [true, ['c2']]);
    await rig.containers.remove('c2');
    assert.deepEqual(await rig.volumes.list(), []);
    await runToEnd(rig.containers, aContainer('c2', ['true'], volume('')));
    await rig.containers.remove('c2', { keepVolumes: true });
    const [kept] = await rig.volumes.list();
    assert.deepEqual((await rig.volumes.prune({})).removed, [kept?.name]);
  });

  it('without a name stay for another container that was given them', async () => {
    await runToEnd(rig.containers, aContainer('c9', ['true'], volume('')));
    const [first] = await rig.volumes.list();
    await runToEnd(rig.containers, aContainer('c10', ['true'], volume(first?.name ?? '')));
    await rig.containers.remove('c9');
    assert.deepEqual((await rig.volumes.list())[0]?.usedBy, ['c10']);
  });

  it('keep what was made before there were records', async () => {
    const old = join(rig.stateDir, 'volumes/keep-old/_data');
    mkdirSync(old, { recursive: true });
    writeFileSync(join(old, 'f'), 'old');
    const { createdAtMs, anonymous, labels } = await rig.volumes.inspect('keep-old');
    assert.ok(createdAtMs > 0);
    assert.deepEqual([anonymous, labels], [false, {}]);
  });

  it('take labels and options from the container they are made for', async () => {
    const wanted = { volumeOptions: { labels: { stack: 's' }, driver: 'local' } };
    await runToEnd(rig.containers, aContainer('c3', ['true'], volume('keep', '/v', wanted)));
    assert.deepEqual((await rig.volumes.inspect('keep')).labels, { stack: 's' });
  });

  it('are mounted with their first user and unmounted with the last', async () => {
    const driverOpts = { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,mode=700' };
    const { mountpoint } = await rig.volumes.create('keep', { driverOpts });
    assert.ok(!mounted(mountpoint));
    const sleep = ['sh', '-c', 'echo $(stat -c %a /v) > /v/f; cat /v/f; sleep 1000'];
    for (const id of ['c4', 'c5']) {
      await rig.containers.create(aContainer(id, sleep, volume('keep')));
      await rig.containers.start(id);
    }
    assert.ok(mounted(mountpoint));
    await rig.reopen();
    await rig.containers.stop('c4', { graceMs: 0 });
    await rig.containers.remove('c4');
    assert.ok(mounted(mountpoint), 'the other container still has it');
    await rig.containers.remove('c5', { force: true });
    assert.ok(!mounted(mountpoint));
  });

  it('are copied from and to while no container runs', async () => {
    const folder = join(rig.root, 'elsewhere');
    mkdirSync(folder);
    const driverOpts = { type: 'none', device: folder, o: 'bind' };
    const { mountpoint } = await rig.volumes.create('keep', { driverOpts });
    await runToEnd(
      rig.containers,
      aContainer('c6', ['sh', '-c', 'echo in > /v/f'], volume('keep')),
    );
    const files = inPieces(tarOf([{ name: 'g', content: 'back' }]));
    await rig.containers.copyTo('c6', '/v', files, { copyOwners: false });
    const { tar } = await rig.containers.copyFrom('c6', '/v/f', { followLink: false });
    assert.equal(untar(await collect(tar))[0]?.content.toString(), 'in\n');
    assert.equal(readFileSync(join(folder, 'g'), 'utf8'), 'back');
    assert.ok(!mounted(mountpoint));
  });

  it('say in words of mount why they cannot be mounted', async () => {
    const driverOpts = { type: 'none', device: '/there/is/nothing', o: 'bind' };
    await rig.volumes.create('keep', { driverOpts });
    await assert.rejects(rig.containers.create(aContainer('c7', ['true'], volume('keep'))), {
      kind: 'failed-precondition',
      message: /mounting volume keep .*\/there\/is\/nothing/,
    });
    assert.equal(rig.containers.get('c7'), undefined);
    await rig.volumes.remove('keep');
  });

  it('tell what becomes of them', async () => {
    const seen: string[] = [];
    const end = rig.events.onEvent(({ type, action, id }) => {
      if (type === 'volume') seen.push(`${action} ${id}`);
    });
    await runToEnd(rig.containers, aContainer('c8', ['true'], volume('keep')));
    await rig.containers.remove('c8');
    await rig.volumes.remove('keep');
    end();
    assert.deepEqual(seen, ['create keep', 'mount keep', 'unmount keep', 'destroy keep']);
  });

  it('leave nothing half made or half removed after a crash', async () => {
    for (const name of ['.new-x', '.gone-1']) {
      mkdirSync(join(rig.stateDir, 'volumes', name, '_data/deep'), { recursive: true });
    }
    assert.deepEqual(await rig.volumes.list(), []);
    await rig.reopen();
    assert.ok(!existsSync(join(rig.stateDir, 'volumes/.new-x')));
    assert.ok(!existsSync(join(rig.stateDir, 'volumes/.gone-1')));
  });
});
