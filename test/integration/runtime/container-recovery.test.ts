import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  aContainer,
  openContainerRig,
  runExec,
  type ContainerRig,
} from '../../support/container-rig.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

const CHILD = fileURLToPath(new URL('../../support/container-engine-child.ts', import.meta.url));

describe('containers on crun: an engine that was killed', function () {
  let rig: ContainerRig | undefined;
  let child: ChildProcess | undefined;
  let left: { root: string; cgroupParent: string } | undefined;

  before(function () {
    requiresRoot(this);
    requiresCommand(this, 'crun');
    requiresCommand(this, 'conmon');
  });

  afterEach(async () => {
    child?.kill('SIGKILL');
    if (left !== undefined) rig ??= await openContainerRig(left);
    left = undefined;
    await rig?.close();
    rig = undefined;
  });

  async function killEngineWith(
    ids: readonly string[],
  ): Promise<{ root: string; cgroupParent: string }> {
    const root = mkdtempSync('/var/tmp/ht-runtime-');
    const cgroupParent = `/hatoba-test-runtime-${process.pid}-killed`;
    left = { root, cgroupParent };
    child = spawn(process.execPath, ['--import', 'tsx', CHILD, root, cgroupParent, ...ids], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const said = await Promise.race([
      once(child.stdout ?? child, 'data').then(String),
      once(child, 'exit').then(() => 'exited'),
    ]);
    assert.match(said, /ready/);
    child.kill('SIGKILL');
    await once(child, 'exit');
    return left;
  }

  it('finds the same processes, records what ended meanwhile, restarts nothing', async () => {
    const folders = await killEngineWith(['long', 'short']);
    const state = (id: string): { process: { pid: number } } =>
      JSON.parse(
        readFileSync(join(folders.root, 'state/containers', id, 'state.json'), 'utf8'),
      ) as {
        process: { pid: number };
      };
    writeFileSync(join(folders.root, 'state/snapshots/short/rootfs/go'), '');
    await eventually(() => assert.ok(existsSync(join(folders.root, 'state/exits/short'))));
    const pid = state('long').process.pid;
    rig = await openContainerRig(folders);
    const { containers } = rig;
    assert.deepEqual(
      containers.list().map((s) => [s.config.id, s.status, s.pid, s.exitCode]),
      [
        ['long', 'running', pid, undefined],
        ['short', 'exited', 0, 4],
      ],
    );
    assert.ok(existsSync(`/proc/${pid}`));
    assert.equal((await runExec(containers, 'long', ['echo', 'alive'])).stdout, 'alive\n');
    const stopped = await containers.stop('long', { graceMs: 0 });
    assert.equal(stopped.exitCode, 137);
    await containers.create(aContainer('fresh', ['true']));
  });

  it('takes away what a half-made creation left', async () => {
    const folders = await killEngineWith(['half']);
    // As if it had been killed before the creation was complete.
    rmSync(join(folders.root, 'state/containers/half/state.json'));
    const pid = Number(readFileSync(join(folders.root, 'run/containers/half/pid'), 'utf8'));
    mkdirSync(join(folders.root, 'state/containers/empty'));
    writeFileSync(join(folders.root, 'state/exits/ghost'), '1');
    rig = await openContainerRig(folders);
    assert.deepEqual(rig.containers.list(), []);
    // Its parent was ended too, so it is for the machine's init to collect it.
    await eventually(() => assert.ok(!existsSync(`/proc/${pid}`)));
    for (const left of ['containers/half', 'containers/empty', 'snapshots/half', 'exits/ghost']) {
      assert.ok(!existsSync(join(folders.root, 'state', left)), left);
    }
  });

  it('goes on with a log that was renamed but not yet reopened', async () => {
    const folders = await killEngineWith(['logged']);
    const log = join(folders.root, 'state/containers/logged/log/container.log');
    renameSync(log, `${log}.1`);
    rig = await openContainerRig(folders);
    await eventually(() => assert.ok(existsSync(log)));
  });

  it('shows containers as exited after all was lost, as by a reboot', async () => {
    const folders = await killEngineWith(['lost']);
    const statusFile = join(folders.root, 'state/containers/lost/state.json');
    const status = JSON.parse(readFileSync(statusFile, 'utf8')) as {
      process: { pid: number; bootId: string };
      conmon: { pid: number; bootId: string };
    };
    const { pid } = status.process;
    process.kill(status.conmon.pid, 'SIGKILL'); // nobody is left to note the exit
    process.kill(pid, 'SIGKILL');
    await eventually(() => assert.ok(!existsSync(`/proc/${pid}`)));
    rmSync(join(folders.root, 'run/crun/lost'), { recursive: true });
    rig = await openContainerRig(folders);
    const found = rig.containers.get('lost');
    assert.deepEqual([found?.status, found?.exitCode, found?.pid], ['exited', 255, 0]);
  });

  it('never takes another process for a container', async () => {
    const folders = await killEngineWith(['ours']);
    const statusFile = join(folders.root, 'state/containers/ours/state.json');
    const text = readFileSync(statusFile, 'utf8');
    const status = JSON.parse(text) as { process: { pid: number }; conmon: { pid: number } };
    process.kill(status.conmon.pid, 'SIGKILL');
    process.kill(status.process.pid, 'SIGKILL');
    await eventually(() => assert.ok(!existsSync(`/proc/${status.process.pid}`)));
    const stranger = spawn('/bin/sleep', ['60']);
    writeFileSync(
      statusFile,
      text.replaceAll(`"pid":${status.process.pid}`, `"pid":${stranger.pid}`),
    );
    try {
      rig = await openContainerRig(folders);
      assert.equal(rig.containers.get('ours')?.status, 'exited');
      await rig.containers.remove('ours', { force: true });
      assert.equal(stranger.exitCode, null);
      assert.equal(stranger.signalCode, null);
    } finally {
      stranger.kill('SIGKILL');
    }
  });
});
