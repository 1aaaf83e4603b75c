import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../../../common/errors.js';
import { detectCgroups } from '../../../runtime/cgroup/cgroup-fs.js';
import type { ContainerState, EngineEvent } from '../../../runtime/engine.js';
import {
  aContainer,
  openContainerRig,
  readOutput,
  runExec,
  runToEnd,
  type ContainerRig,
} from '../../support/container-rig.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

/** Counts its runs in its writable layer, and ends with that count. */
const COUNTER = ['sh', '-c', 'echo x >> /runs; n=$(wc -l < /runs); echo run $n; exit $n'];
const IDLE = ['sleep', '1000'];

describe('containers on crun: more than one run', function () {
  let rig: ContainerRig;
  let opened: ContainerRig | undefined;

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'crun');
    requiresCommand(this, 'conmon');
    rig = await openContainerRig();
    opened = rig;
  });

  after(async () => {
    await opened?.close();
  });

  afterEach(async () => {
    rig.hooks.beforeRestart = () => Promise.resolve();
    for (const { config } of rig.containers.list()) {
      await rig.containers.remove(config.id, { force: true });
    }
  });

  const run = async (id: string): Promise<ContainerState> => {
    await rig.containers.start(id);
    return rig.containers.wait(id);
  };
  const cgroupsOf = (id: string): string[] =>
    detectCgroups()
      .roots.map((root) => `${root}${rig.cgroupParent}/group/${id}`)
      .filter((path) => existsSync(path));
  const untilStatus = (id: string, status: ContainerState['status']): Promise<void> =>
    eventually(() => assert.equal(rig.containers.get(id)?.status, status));

  it('starts an exited one on the same layer, volume and log', async () => {
    const { containers } = rig;
    const script = 'echo x >> /data/v; echo x >> /own; echo $(wc -l < /data/v) $(wc -l < /own)';
    const created = await containers.create(
      aContainer('a', ['sh', '-c', script], { image: 'box-volume' }),
    );
    for (let n = 1; n <= 3; n++) {
      const { exitCode, error, restartCount } = await run('a');
      assert.deepEqual([exitCode, error, restartCount], [0, '', 0]);
    }
    assert.deepEqual(await readOutput(containers, 'a'), [
      'stdout: 1 1',
      'stdout: 2 2',
      'stdout: 3 3',
    ]);
    const stamps: number[] = [];
    for await (const line of containers.logs('a', { follow: false })) stamps.push(line.timestampMs);
    assert.deepEqual(
      stamps,
      stamps.toSorted((x, y) => x - y),
    );
    const started = await containers.start('a');
    assert.notEqual(started.pid, created.pid);
  });

  it('leaves nothing of a run that has ended', async () => {
    const { containers } = rig;
    await runToEnd(containers, aContainer('left', ['true']));
    await eventually(() => {
      assert.ok(!existsSync(join(rig.runDir, 'containers/left')));
      assert.ok(!existsSync(join(rig.runDir, 'crun/left')));
      assert.deepEqual(cgroupsOf('left'), []);
    });
    assert.deepEqual(readdirSync(join(rig.stateDir, 'containers/left')).toSorted(), [
      'config.json',
      'log',
      'state.json',
    ]);
  });

  it('asks its owner for the network before a further run, not before the first', async () => {
    const asked: string[] = [];
    rig.hooks.beforeRestart = (config) => {
      asked.push(config.id);
      return Promise.resolve();
    };
    await rig.containers.create(aContainer('net', ['true']));
    await run('net');
    assert.deepEqual(asked, []);
    await run('net');
    assert.deepEqual(asked, ['net']);
    rig.hooks.beforeRestart = () => Promise.reject(new Error('no address is left'));
    await assert.rejects(rig.containers.start('net'), /no address is left/);
    const state = rig.containers.get('net');
    assert.deepEqual([state?.status, state?.exitCode], ['exited', 128]);
    assert.match(state?.error ?? '', /no address is left/);
  });

  it('says why a start fails as a shell does: 127 not found, 126 not executable', async () => {
    const { containers } = rig;
    await containers.create(aContainer('gone', ['sh', '-c', 'exec rm /bin/busybox']));
    await run('gone');
    await assert.rejects(containers.start('gone'), /exec: "sh": executable file not found/);
    assert.equal(containers.get('gone')?.exitCode, 127);
    await containers.create(aContainer('dull', ['/data/../bin/hostname']));
    const upper = join(rig.stateDir, 'snapshots/dull/rootfs');
    await containers.stop('dull');
    rmSync(`${upper}/bin/hostname`);
    writeFileSync(`${upper}/bin/hostname`, 'text', { mode: 0o644 });
    await assert.rejects(containers.start('dull'), /hostname": permission denied/);
    assert.equal(containers.get('dull')?.exitCode, 126);
  });

  it('is made without its command, which may come before its start', async () => {
    const { containers } = rig;
    const made = await containers.create(aContainer('late', ['/late'], {}, { autoRemove: true }));
    assert.deepEqual([made.status, made.pid], ['created', 0]);
    assert.match(made.error, /exec: "\/late": executable file not found/);
    await assert.rejects(containers.start('late'), /exec: "\/late": executable file not found/);
    assert.deepEqual(
      [containers.get('late')?.status, containers.get('late')?.exitCode],
      ['created', 127],
    );
    const script = join(rig.stateDir, 'snapshots/late/rootfs/late');
    writeFileSync(script, '#!/bin/sh\nexit 7\n', { mode: 0o755 });
    const { exitCode, error } = await run('late');
    assert.deepEqual([exitCode, error], [7, '']);
    await eventually(() => assert.equal(containers.get('late'), undefined));
  });

  it('starts no container that is half removed, by hand or by its rule', async () => {
    const { containers } = rig;
    const restart = { name: 'always', maximumRetryCount: 0 } as const;
    await containers.create(aContainer('half', ['false'], {}, { restart }));
    await containers.start('half');
    await untilStatus('half', 'restarting');
    const obstacle = join(rig.runDir, 'containers/half/obstacle');
    mkdirSync(obstacle, { recursive: true });
    await rig.kernel.mounts.tmpfs(obstacle, { sizeBytes: 65_536, mode: 0o700 });
    try {
      const isBusy = (error: unknown): boolean => describeError(error).includes('EBUSY');
      await assert.rejects(containers.remove('half', { force: true }), isBusy);
      assert.equal(containers.get('half')?.status, 'exited');
      await assert.rejects(containers.start('half'), /is half removed; remove it again/);
    } finally {
      await rig.kernel.mounts.unmount(obstacle);
    }
    await containers.remove('half');
    assert.equal(containers.get('half'), undefined);
  });

  it('removes itself too when its restart does not bring it up again', async () => {
    const { containers } = rig;
    await containers.create(aContainer('fall', IDLE, {}, { autoRemove: true }));
    await containers.start('fall');
    rig.hooks.beforeRestart = () => Promise.reject(new Error('no such network'));
    await assert.rejects(containers.restart('fall', { graceMs: 0 }), /no such network/);
    await eventually(() => assert.equal(containers.get('fall'), undefined));
  });

  it('restarts by its rule as often as that allows; wait waits for the last end', async () => {
    const { containers } = rig;
    const statuses: string[] = [];
    const end = containers.onEvent(({ type, state }) => statuses.push(`${type} ${state.status}`));
    const restart = { name: 'on-failure', maximumRetryCount: 2 } as const;
    await containers.create(aContainer('retry', COUNTER, {}, { restart }));
    const state = await run('retry');
    end();
    assert.deepEqual([state.exitCode, state.restartCount], [3, 2]);
    assert.deepEqual(statuses, [
      'created created',
      'started running',
      'exited restarting',
      'started running',
      'exited restarting',
      'started running',
      'exited exited',
    ]);
    assert.deepEqual(await readOutput(containers, 'retry', { follow: true }), [
      'stdout: run 1',
      'stdout: run 2',
      'stdout: run 3',
    ]);
    const again = await run('retry');
    assert.equal(again.restartCount, 2, 'a start by hand counts anew');
  });

  it('counts a start that fails, and gives its reason', async () => {
    const { containers } = rig;
    const restart = { name: 'on-failure', maximumRetryCount: 2 } as const;
    await containers.create(aContainer('broken', COUNTER, {}, { restart }));
    rig.hooks.beforeRestart = () => Promise.reject(new Error('no such network'));
    const state = await run('broken');
    assert.deepEqual([state.exitCode, state.restartCount], [128, 2]);
    assert.match(state.error, /no such network/);
  });

  it('leaves alone what was stopped by hand, also while it waits', async () => {
    const { containers } = rig;
    const restart = { name: 'always', maximumRetryCount: 0 } as const;
    await containers.create(aContainer('idle', IDLE, {}, { restart }));
    await containers.start('idle');
    await containers.stop('idle', { graceMs: 0 });
    assert.equal(containers.get('idle')?.status, 'exited');
    await containers.create(aContainer('busy', ['false'], {}, { restart }));
    await containers.start('busy');
    await untilStatus('busy', 'restarting');
    await assert.rejects(containers.remove('busy'), /is restarting/);
    assert.equal((await containers.stop('busy')).status, 'exited');
    await containers.update('busy', { restart: { name: 'no', maximumRetryCount: 0 } });
    assert.equal((await run('busy')).exitCode, 1);
  });

  it('takes up restarts that were due, and `always`, when an engine opens', async () => {
    const { containers } = rig;
    const always = { restart: { name: 'always', maximumRetryCount: 0 } } as const;
    const unless = { restart: { name: 'unless-stopped', maximumRetryCount: 0 } } as const;
    for (const [id, other] of [
      ['aw', always],
      ['us', unless],
    ] as const) {
      await containers.create(aContainer(id, IDLE, {}, other));
      await containers.start(id);
      await containers.stop(id, { graceMs: 0 });
    }
    await containers.create(aContainer('die', IDLE, {}, unless));
    const { pid } = await containers.start('die');
    await rig.whileClosed(async () => {
      process.kill(pid, 'SIGKILL');
      await eventually(() => assert.ok(existsSync(join(rig.stateDir, 'exits/die'))));
    });
    await untilStatus('aw', 'running');
    await untilStatus('die', 'running');
    assert.equal(rig.containers.get('us')?.status, 'exited');
    assert.equal(rig.containers.get('die')?.restartCount, 1);
  });

  it('is true again after a reboot', async () => {
    const { containers } = rig;
    const always = { restart: { name: 'always', maximumRetryCount: 0 } } as const;
    await containers.create(
      aContainer('up', ['sh', '-c', 'echo x >> /n; exec sleep 1000'], {}, always),
    );
    await containers.start('up');
    await eventually(async () => {
      assert.equal((await runExec(containers, 'up', ['cat', '/n'])).stdout, 'x\n');
    });
    await containers.create(aContainer('off', IDLE));
    await containers.start('off');
    await containers.create(aContainer('new', COUNTER));
    await rig.reboot();
    assert.deepEqual(
      rig.containers.list().map((s) => [s.config.id, s.status, s.pid > 0, s.exitCode]),
      [
        ['new', 'created', false, undefined],
        ['off', 'exited', false, 255],
        ['up', 'restarting', false, 255],
      ],
    );
    await untilStatus('up', 'running');
    await eventually(async () => {
      assert.equal((await runExec(rig.containers, 'up', ['cat', '/n'])).stdout, 'x\nx\n');
    });
    assert.equal((await run('new')).exitCode, 1);
    assert.equal((await rig.containers.start('off')).status, 'running');
  });

  it('removes itself at its end, also when no engine was there', async () => {
    const { containers } = rig;
    await containers.create(
      aContainer('auto', ['true'], { image: 'box-volume' }, { autoRemove: true }),
    );
    const volumes = readdirSync(join(rig.stateDir, 'volumes')).length;
    const { exitCode } = await run('auto');
    assert.equal(exitCode, 0);
    await eventually(() => assert.equal(containers.get('auto'), undefined));
    assert.equal(readdirSync(join(rig.stateDir, 'volumes')).length, volumes - 1);

    await containers.create(aContainer('auto2', IDLE, {}, { autoRemove: true }));
    const { pid } = await containers.start('auto2');
    assert.equal((await containers.restart('auto2', { graceMs: 0 })).status, 'running');
    const again = containers.get('auto2')?.pid ?? 0;
    assert.notEqual(again, pid);
    await rig.whileClosed(async () => {
      process.kill(again, 'SIGKILL');
      await eventually(() => assert.ok(existsSync(join(rig.stateDir, 'exits/auto2'))));
    });
    await eventually(() => assert.equal(rig.containers.get('auto2'), undefined));
  });

  it('pauses: nothing moves, exec is refused, a new engine knows, stop ends it', async () => {
    const { containers } = rig;
    const script = 'trap "exit 5" TERM; while :; do echo x >> /beat; sleep 0.01; done';
    await containers.create(aContainer('p', ['sh', '-c', script]));
    await assert.rejects(containers.pause('p'), { kind: 'failed-precondition' });
    await containers.start('p');
    const beat = join(rig.stateDir, 'snapshots/p/rootfs/beat');
    await eventually(() => assert.ok(existsSync(beat)));
    assert.equal((await containers.pause('p')).status, 'paused');
    const length = readFileSync(beat).length;
    await assert.rejects(runExec(containers, 'p', ['true']), /is paused; unpause it first/);
    await assert.rejects(containers.pause('p'), { kind: 'failed-precondition' });
    await rig.reopen();
    assert.equal(rig.containers.get('p')?.status, 'paused');
    assert.equal(readFileSync(beat).length, length);
    assert.equal((await rig.containers.unpause('p')).status, 'running');
    await eventually(() => assert.ok(readFileSync(beat).length > length));
    await rig.containers.pause('p');
    assert.equal((await rig.containers.stop('p')).exitCode, 5);
    await rig.containers.start('p');
    await rig.containers.pause('p');
    await rig.containers.kill('p', 'KILL');
    assert.equal((await rig.containers.wait('p')).exitCode, 137);
  });

  it('is found by name and by the start of its id; names are unique, and outlive an engine', async () => {
    const { containers } = rig;
    await containers.create(aContainer('abc1', IDLE, {}, { name: 'web' }));
    await containers.create(aContainer('abd2', IDLE, {}, { name: 'abc' }));
    assert.equal(containers.find('web').config.id, 'abc1');
    assert.equal(containers.find('abc').config.id, 'abd2', 'a name comes before a part of an id');
    assert.equal(containers.find('abd').config.id, 'abd2');
    assert.throws(() => containers.find('ab'), { kind: 'invalid-argument' });
    assert.throws(() => containers.find(''), { kind: 'not-found' });
    await assert.rejects(containers.create(aContainer('x', IDLE, {}, { name: 'web' })), {
      kind: 'already-exists',
      message: /"web" is in use by container abc1/,
    });
    await assert.rejects(containers.rename('abd2', 'web'), { kind: 'already-exists' });
    await assert.rejects(containers.rename('abd2', 'a b'), { kind: 'invalid-argument' });
    await containers.rename('abc1', 'site');
    await containers.rename('abd2', 'web');
    await rig.reopen();
    assert.equal(rig.containers.find('site').config.id, 'abc1');
    assert.equal(rig.containers.find('web').config.id, 'abd2');
    await rig.containers.remove('abc1');
    await rig.containers.create(aContainer('y', IDLE, {}, { name: 'site' }));
  });

  it('prunes what has ended or never ran, by label and age', async () => {
    const { containers } = rig;
    const labels = { keep: 'no' };
    await runToEnd(containers, aContainer('old', ['sh', '-c', 'echo 12345 > /f'], {}, { labels }));
    await containers.create(aContainer('idle', IDLE, {}, { labels }));
    await containers.create(aContainer('other', IDLE));
    await containers.create(aContainer('runs', IDLE, {}, { labels }));
    await containers.start('runs');
    assert.deepEqual((await containers.prune({ labels, olderThanMs: 3_600_000 })).removed, []);
    const pruned = await containers.prune({ labels });
    assert.deepEqual(pruned.removed.toSorted(), ['idle', 'old']);
    assert.ok(pruned.reclaimedBytes > 0);
    assert.deepEqual((await containers.prune({})).removed, ['other']);
    assert.deepEqual(
      containers.list().map((s) => s.config.id),
      ['runs'],
    );
  });

  it("tells of its life in Docker's words", async () => {
    const { containers, events } = rig;
    const told: EngineEvent[] = [];
    const end = events.onEvent((event) => told.push(event));
    await containers.create(aContainer('ev', IDLE, {}, { labels: { a: 'b' } }));
    await containers.start('ev');
    await runExec(containers, 'ev', ['echo', 'x']);
    await containers.pause('ev');
    await containers.unpause('ev');
    await containers.rename('ev', 'other');
    await containers.update('ev', { restart: { name: 'always', maximumRetryCount: 0 } });
    await containers.restart('ev', { graceMs: 0 });
    await containers.kill('ev', 'KILL');
    await containers.wait('ev');
    await containers.remove('ev');
    end();
    assert.deepEqual(
      told.map((event) => event.action),
      [
        'create',
        'start',
        'exec_start: echo x',
        'exec_die',
        'pause',
        'unpause',
        'rename',
        'update',
        'kill',
        'kill',
        'die',
        'stop',
        'start',
        'restart',
        'kill',
        'die',
        'destroy',
      ],
    );
    const die = told.findLast((event) => event.action === 'die');
    assert.deepEqual(die?.attributes, { a: 'b', image: 'box', name: 'other', exitCode: '137' });
    assert.equal(die.id, 'ev');
  });

  it('ends with its first process, whatever that has left behind', async () => {
    const { containers } = rig;
    const script = 'setsid sleep 1000 & sleep 0.1; exit 6';
    for (const pidMode of ['', 'host']) {
      const id = `pid1${pidMode}`;
      const { exitCode } = await runToEnd(
        containers,
        aContainer(id, ['sh', '-c', script], { pidMode }),
      );
      assert.equal(exitCode, 6);
      await eventually(() => assert.deepEqual(cgroupsOf(id), []));
    }
  });

  it('runs on when its conmon is killed, and its end is seen', async () => {
    const { containers } = rig;
    await containers.create(aContainer('alone', ['sh', '-c', 'while :; do sleep 0.05; done']));
    await containers.start('alone');
    const status = JSON.parse(
      readFileSync(join(rig.stateDir, 'containers/alone/state.json'), 'utf8'),
    ) as { conmon: { pid: number } };
    process.kill(status.conmon.pid, 'SIGKILL');
    await eventually(() => assert.ok(!existsSync(`/proc/${status.conmon.pid}`)));
    await rig.reopen();
    assert.equal(rig.containers.get('alone')?.status, 'running');
    assert.equal((await runExec(rig.containers, 'alone', ['echo', 'here'])).stdout, 'here\n');
    const stopped = await rig.containers.stop('alone', { graceMs: 0 });
    assert.equal(stopped.status, 'exited');
    assert.ok([137, 255].includes(stopped.exitCode ?? -1));
  });

  it('flags a child that was killed for want of memory, and lives on', async () => {
    const { containers } = rig;
    const script = 'dd if=/dev/zero of=/dev/null bs=64M; echo $?; exec sleep 1000';
    const limits = { memoryBytes: 16 << 20 };
    await containers.create(aContainer('hungry', ['sh', '-c', script], {}, { limits }));
    await containers.start('hungry');
    await eventually(async () => assert.ok((await readOutput(containers, 'hungry')).length > 0));
    const { exitCode, oomKilled } = await containers.stop('hungry', { graceMs: 0 });
    assert.deepEqual([exitCode, oomKilled], [137, true]);
    await containers.update('hungry', {
      limits: { ...containers.find('hungry').config.limits, memoryBytes: 256 << 20 },
    });
    await containers.start('hungry');
    assert.equal(containers.get('hungry')?.oomKilled, false, 'it is about the present run');
  });
});
