import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { HatobaError, describeError } from '../../../common/errors.js';
import { findInitProgram } from '../../../runtime/oci/host-facts.js';
import {
  aContainer,
  openContainerRig,
  readOutput,
  runExec,
  runToEnd,
  type ContainerRig,
} from '../../support/container-rig.js';
import { cleanUp } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

describe('containers on crun: against what goes wrong, and who means harm', function () {
  let rig: ContainerRig;
  let opened: ContainerRig | undefined;

  before(function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon']) requiresCommand(this, command);
  });

  beforeEach(async () => {
    opened = rig = await openContainerRig();
  });

  afterEach(async () => {
    await opened?.close();
    opened = undefined;
  });

  it('keeps kernel files and devices of the host out of reach', async () => {
    const probe = [
      'for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/uevent_helper; do',
      '  echo x > $f; echo "$f $?"; done;',
      'cat /proc/kcore /proc/keys | wc -c;',
      'ls /sys/firmware | wc -l;',
      'mkdir /sys/fs/cgroup/*/x; echo "cgroup $?";',
      'cat /host-disk; echo "disk $?";',
      'echo x > /dev/null; echo "null $?"',
    ].join('\n');
    // Writes through a device node of the host's memory, which mknod itself may make.
    const mknod = 'busybox mknod /host-disk c 1 1; echo "mknod $?";';
    const { output } = await runToEnd(
      rig.containers,
      aContainer('probe', ['sh', '-c', `exec 2>/dev/null; ${mknod} ${probe}`]),
    );
    assert.deepEqual(
      output.map((line) => line.replace('stdout: ', '')),
      [
        'mknod 0',
        '/proc/sys/kernel/hostname 1',
        '/proc/sysrq-trigger 1',
        '/sys/kernel/uevent_helper 1',
        '0',
        '0',
        'cgroup 1',
        'disk 1',
        'null 0',
      ],
    );
  });

  it('gains no privileges from setuid programs, when so asked', async () => {
    const script = 'grep NoNewPrivs /proc/self/status';
    const { output } = await runToEnd(
      rig.containers,
      aContainer('nnp', ['sh', '-c', script], { noNewPrivileges: true }),
    );
    assert.deepEqual(output, ['stdout: NoNewPrivs:\t1']);
  });

  it('filters system calls although the stored program was damaged', async () => {
    const status = ['grep', 'Seccomp:', '/proc/self/status'];
    const programs = (): string[] => readdirSync(join(rig.stateDir, 'seccomp'));
    await runToEnd(rig.containers, aContainer('first', status));
    const [program = ''] = programs();
    for (const length of [0, 8, 160]) {
      truncateSync(join(rig.stateDir, 'seccomp', program), length);
      await rig.reopen();
      const id = `torn-${length}`;
      const { output } = await runToEnd(rig.containers, aContainer(id, status));
      assert.deepEqual(output, ['stdout: Seccomp:\t2'], `${length} bytes left`);
    }
    await runToEnd(rig.containers, aContainer('last', status));
    const spec = readFileSync(join(rig.runDir, 'containers/last/config.json'), 'utf8');
    assert.ok(spec.includes('run.oci.seccomp_bpf_data'), 'a whole program was stored again');
  });

  it('removes folders nested deeper than a path may be long', async () => {
    const nest =
      'i=0; while [ $i -lt 600 ]; do mkdir deep-deep && cd -P deep-deep; i=$((i+1)); done';
    const spec = { mounts: [{ type: 'MOUNT_TYPE_VOLUME' as const, target: '/data' }] };
    const script = `cd /; ${nest}; cd /data; mkdir .deep-1; ${nest}; echo done`;
    const { output } = await runToEnd(
      rig.containers,
      aContainer('deep', ['sh', '-c', script], spec),
    );
    assert.deepEqual(output, ['stdout: done']);
    await rig.containers.remove('deep');
    await rig.reopen();
    assert.deepEqual(rig.containers.list(), []);
  });

  it('keeps the record of a container until all of it is gone', async () => {
    const restart = { name: 'always', maximumRetryCount: 0 } as const;
    await rig.containers.create(aContainer('busy', ['sleep', '1000'], {}, { restart }));
    await rig.containers.start('busy');
    const cgroup = cgroupOf(rig, 'busy');
    const obstacle = join(rig.runDir, 'containers/busy/obstacle');
    mkdirSync(obstacle);
    await rig.kernel.mounts.tmpfs(obstacle, { sizeBytes: 65_536, mode: 0o700 });
    await assert.rejects(rig.containers.remove('busy', { force: true }), (error) =>
      /EBUSY/.test(describeError(error)),
    );
    await rig.reopen();
    assert.deepEqual(
      rig.containers.list().map((c) => [c.config.id, c.status]),
      [['busy', 'exited']],
    );
    assert.match(rig.containers.get('busy')?.error ?? '', /EBUSY/);
    await rig.kernel.mounts.unmount(obstacle);
    await rig.containers.remove('busy', { force: true });
    assert.ok(!existsSync(cgroup));
  });

  it('ends what is in the cgroups below its own', async () => {
    await rig.containers.create(aContainer('deep', ['sleep', '1000']));
    await rig.containers.start('deep');
    const nested = join(cgroupOf(rig, 'deep'), 'nested');
    mkdirSync(nested);
    const stray = spawn('/bin/sleep', ['1000']);
    try {
      writeFileSync(join(nested, 'cgroup.procs'), String(stray.pid));
      await rig.containers.remove('deep', { force: true });
      await eventually(() => assert.equal(stray.signalCode, 'SIGKILL'));
      assert.ok(!existsSync(nested));
    } finally {
      stray.kill('SIGKILL');
    }
  });

  it('ends what still makes a container for an engine that was killed', async () => {
    mkdirSync(join(rig.stateDir, 'containers/cut-off'));
    const bundle = join(rig.runDir, 'containers/cut-off');
    mkdirSync(bundle, { recursive: true });
    const makers = [
      spawn('/bin/sh', ['-c', 'read x', 'conmon', `--bundle=${bundle}`]),
      spawn('/bin/sh', ['-c', 'read x', 'crun', 'create', '--bundle', bundle]),
    ];
    const other = spawn('/bin/sh', ['-c', 'read x', 'conmon', `--bundle=${bundle}-2`]);
    try {
      await rig.reopen();
      for (const maker of makers) await eventually(() => assert.equal(maker.signalCode, 'SIGKILL'));
      assert.equal(other.signalCode, null);
      assert.ok(!existsSync(bundle));
    } finally {
      for (const child of [...makers, other]) child.kill('SIGKILL');
    }
  });

  describe('with init: true', () => {
    before(function () {
      try {
        findInitProgram();
      } catch {
        requiresCommand(this, 'tini-static');
      }
    });

    it('has an init as PID 1 that passes signals on, collects orphans and tells the exit code', async () => {
      const orphan =
        'sh -c "sleep 0.2 & :" ; trap "exit 7" TERM; echo up; while :; do sleep 0.1; done';
      const config = aContainer('init', ['sh', '-c', orphan], { init: true });
      await rig.containers.create(config);
      await rig.containers.start('init');
      await eventually(async () => {
        assert.deepEqual(await readOutput(rig.containers, 'init'), ['stdout: up']);
      });
      const { stdout } = await runExec(rig.containers, 'init', ['cat', '/proc/1/cmdline']);
      assert.match(stdout, /^\/dev\/hatoba-init\0/);
      await eventually(async () => {
        const list = await runExec(rig.containers, 'init', ['sh', '-c', 'ps -o stat,comm']);
        assert.doesNotMatch(list.stdout, /^Z/m);
        assert.equal(list.stdout.match(/ sleep$/gm)?.length ?? 0, 1, list.stdout);
      });
      const { exitCode } = await rig.containers.stop('init', { graceMs: 10_000 });
      assert.equal(exitCode, 7);
    });

    it('names the package where there is none', () => {
      assert.throws(
        () => findInitProgram(['/nowhere/tini-static']),
        (error) => error instanceof HatobaError && /install the package tini/.test(error.message),
      );
    });
  });
});

describe('containers on crun: on a full disk', function () {
  let disk = '';
  let opened: ContainerRig | undefined;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'mount']) requiresCommand(this, command);
    disk = mkdtempSync('/var/tmp/ht-full-');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'ht-full', disk]);
    const root = join(disk, 'rig');
    opened = await openContainerRig({ root, cgroupParent: `/hatoba-test-full-${process.pid}` });
  });

  after(async () => {
    if (disk === '') return;
    await cleanUp(
      () => opened?.close(),
      () => execFileSync('umount', [disk]),
      () => rmSync(disk, { recursive: true }),
    );
  });

  it('refuses to create, says why and leaves nothing; stops and removes all the same', async () => {
    assert.ok(opened !== undefined);
    const { containers, stateDir } = opened;
    for (const id of ['one', 'two']) await containers.create(aContainer(id, ['sleep', '1000']));
    await containers.start('one');
    const filler = join(disk, 'filler');
    fill(filler);
    await assert.rejects(containers.create(aContainer('three', ['true'])), (error: unknown) => {
      assert.ok(error instanceof HatobaError);
      assert.equal(error.kind, 'resource-exhausted', error.message);
      assert.match(error.message, /container three: no space left in .*state/);
      return true;
    });
    for (const folder of ['containers', 'snapshots']) {
      assert.ok(!existsSync(join(stateDir, folder, 'three')), folder);
    }
    assert.equal((await containers.start('two')).status, 'running');
    assert.equal((await containers.stop('one', { graceMs: 0 })).status, 'exited');
    await containers.remove('one');
    await containers.remove('two', { force: true });
    assert.deepEqual(containers.list(), []);
    rmSync(filler);
    assert.equal((await runToEnd(containers, aContainer('three', ['true']))).exitCode, 0);
  });
});

function cgroupOf(rig: ContainerRig, id: string): string {
  const pid = rig.containers.get(id)?.pid ?? 0;
  const line = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .split('\n')
    .find((l) => l.includes(':memory:') || l.startsWith('0::'));
  const path = line?.split(':')[2] ?? '';
  return existsSync('/sys/fs/cgroup/memory')
    ? `/sys/fs/cgroup/memory${path}`
    : `/sys/fs/cgroup${path}`;
}

/** Takes the last byte. */
function fill(file: string): void {
  const piece = Buffer.alloc(4096);
  try {
    for (;;) writeFileSync(file, piece, { flag: 'a' });
  } catch (error) {
    assert.match(String(error), /ENOSPC/);
  }
}
