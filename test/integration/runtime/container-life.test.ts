import assert from 'node:assert/strict';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { detectCgroups } from '../../../runtime/cgroup/cgroup-fs.js';
import {
  aContainer,
  openContainerRig,
  readOutput,
  runToEnd,
  type ContainerRig,
} from '../../support/container-rig.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

/** Sleeps as long as it takes, and hears SIGTERM. */
const LOYAL = [
  'sh',
  '-c',
  'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.02; done',
];
/** As PID 1 without a handler, deaf to SIGTERM. */
const DEAF = ['sleep', '1000'];

describe('containers on crun: life', function () {
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
    for (const { config } of rig.containers.list()) {
      await rig.containers.remove(config.id, { force: true });
    }
  });

  it('goes from created to running to exited, and tells of it', async () => {
    const { containers } = rig;
    const events: string[] = [];
    const end = containers.onEvent(({ id, type, state }) => {
      events.push(`${id} ${type} ${state.status}`);
    });
    const created = await containers.create(
      aContainer('a', ['sh', '-c', 'echo out; echo err >&2; exit 7']),
    );
    assert.equal(created.status, 'created');
    assert.ok(created.pid > 0);
    const started = await containers.start('a');
    assert.equal(started.status, 'running');
    assert.equal(started.pid, created.pid, 'the process that waited is the one that runs');
    const exited = await containers.wait('a');
    end();
    assert.equal(exited.exitCode, 7);
    assert.equal(exited.oomKilled, false);
    assert.ok((exited.finishedAtMs ?? 0) >= (exited.startedAtMs ?? Infinity) - 5);
    assert.deepEqual(events, ['a created created', 'a started running', 'a exited exited']);
    assert.deepEqual((await readOutput(containers, 'a')).toSorted(), [
      'stderr: err',
      'stdout: out',
    ]);
  });

  it('gives a container namespaces of its own', async () => {
    const { containers } = rig;
    const ids = ['ns-a', 'ns-b'];
    for (const id of ids) {
      await containers.create(aContainer(id, DEAF, {}, { netns: await rig.netns() }));
      await containers.start(id);
    }
    const pids = ['self', ...ids.map((id) => String(containers.get(id)?.pid))];
    for (const kind of ['pid', 'net', 'mnt', 'uts', 'ipc', 'cgroup']) {
      const seen = pids.map((pid) => readlinkSync(`/proc/${pid}/ns/${kind}`));
      assert.equal(new Set(seen).size, 3, `${kind}: ${seen.join()}`);
    }
  });

  it('shares lower layers and keeps writes apart', async () => {
    const { containers } = rig;
    for (const id of ['rw-a', 'rw-b']) {
      const { output } = await runToEnd(
        containers,
        aContainer(id, [
          'sh',
          '-c',
          `cat /data/deep/seed; echo; echo ${id} > /data/deep/seed; cat /data/deep/seed`,
        ]),
      );
      assert.deepEqual(output, ['stdout: from the image', `stdout: ${id}`]);
    }
    const lowers = ['rw-a', 'rw-b'].map(
      (id) =>
        /lowerdir\+?=([^,]*)/.exec(
          readFileSync('/proc/self/mounts', 'utf8')
            .split('\n')
            .find((line) => line.includes(`/${id}/`)) ?? '',
        )?.[1],
    );
    assert.ok(lowers[0]);
    assert.equal(lowers[0], lowers[1]);
    const seed = join(rig.stateDir, 'layers', 'b'.repeat(64), 'diff/data/deep/seed');
    assert.equal(readFileSync(seed, 'utf8'), 'from the image');
  });

  it('writes the limits into the cgroup', async () => {
    const limits = { nanoCpus: 250_000_000, memoryBytes: 32 << 20, pids: 17 };
    await rig.containers.create(aContainer('lim', DEAF, {}, { limits }));
    const { version, roots } = detectCgroups();
    const read = (controller: string, name: string): string => {
      const root = version === 2 ? roots[0] : `/sys/fs/cgroup/${controller}`;
      return readFileSync(`${root}${rig.cgroupParent}/group/lim/${name}`, 'utf8').trim();
    };
    if (version === 2) {
      assert.equal(read('memory', 'memory.max'), String(32 << 20));
      assert.equal(read('memory', 'memory.swap.max'), '0');
      assert.equal(read('cpu', 'cpu.max'), '25000 100000');
    } else {
      assert.equal(read('memory', 'memory.limit_in_bytes'), String(32 << 20));
      assert.equal(read('cpu', 'cpu.cfs_quota_us'), '25000');
      assert.equal(read('cpu', 'cpu.cfs_period_us'), '100000');
    }
    assert.equal(read('pids', 'pids.max'), '17');
  });

  it('knows a container killed for want of memory from one killed otherwise', async () => {
    const { containers } = rig;
    const hungry = aContainer(
      'oom',
      ['sh', '-c', 'exec dd if=/dev/zero of=/dev/null bs=64M'],
      {},
      {
        limits: { memoryBytes: 16 << 20 },
      },
    );
    const oom = await runToEnd(containers, hungry);
    assert.deepEqual([oom.exitCode, oom.oomKilled], [137, true]);
    await containers.create(aContainer('killed', DEAF));
    await containers.start('killed');
    await containers.kill('killed', 'SIGKILL');
    const killed = await containers.wait('killed');
    assert.deepEqual([killed.exitCode, killed.oomKilled], [137, false]);
  });

  it('reports a signal as 128 + its number', async () => {
    const script = "sh -c 'kill -SEGV $$'; exit $?"; // PID 1 itself cannot be killed from inside
    const { exitCode } = await runToEnd(rig.containers, aContainer('sig', ['sh', '-c', script]));
    assert.equal(exitCode, 139);
  });

  it('stops by the stop signal, and by force after the grace', async () => {
    const { containers } = rig;
    await containers.create(aContainer('loyal', LOYAL));
    await containers.start('loyal');
    for await (const _ of containers.logs('loyal', { follow: true })) break;
    const loyal = await containers.stop('loyal');
    assert.equal(loyal.exitCode, 3);
    assert.deepEqual((await readOutput(containers, 'loyal')).at(-1), 'stdout: bye');

    await containers.create(aContainer('deaf', DEAF));
    await containers.start('deaf');
    const before = Date.now();
    const deaf = await containers.stop('deaf', { graceMs: 300 });
    assert.equal(deaf.exitCode, 137);
    assert.ok(Date.now() - before >= 300);
    assert.equal((await containers.stop('deaf')).exitCode, 137, 'again is no error');
  });

  it("sends the image's stop signal", async () => {
    const { containers } = rig;
    await containers.create(
      aContainer(
        'quit',
        ['sh', '-c', 'trap "exit 9" QUIT; echo ready; while :; do sleep 0.02; done'],
        {
          image: 'box-quit',
        },
      ),
    );
    await containers.start('quit');
    for await (const _ of containers.logs('quit', { follow: true })) break;
    assert.equal((await containers.stop('quit')).exitCode, 9);
  });

  it('stops and removes one that never started', async () => {
    const { containers } = rig;
    await containers.create(aContainer('never', DEAF));
    assert.equal((await containers.stop('never')).exitCode, 137);
    await containers.create(aContainer('never2', DEAF));
    await containers.remove('never2');
    assert.equal(containers.get('never2'), undefined);
  });

  it('makes eight at once', async () => {
    const { containers } = rig;
    const ids = Array.from({ length: 8 }, (_, i) => `par-${i}`);
    await Promise.all(
      ids.map(async (id) => {
        await containers.create(aContainer(id, DEAF, {}, { cgroupGroup: `g-${id}` }));
        await containers.start(id);
      }),
    );
    assert.deepEqual(
      containers.list().map((s) => `${s.config.id} ${s.status}`),
      ids.map((id) => `${id} running`),
    );
    await Promise.all(ids.map((id) => containers.remove(id, { force: true })));
    assert.deepEqual(containers.list(), []);
    const { memoryRoot } = detectCgroups();
    assert.ok(!existsSync(`${memoryRoot}${rig.cgroupParent}/g-par-0`), 'an empty group goes too');
  });

  it('refuses a second of the same id, and to remove what runs', async () => {
    const { containers } = rig;
    await containers.create(aContainer('one', DEAF));
    await assert.rejects(containers.create(aContainer('one', DEAF)), { kind: 'already-exists' });
    await containers.start('one');
    await assert.rejects(containers.remove('one'), { kind: 'failed-precondition' });
    await containers.remove('unknown');
    await assert.rejects(containers.start('unknown'), { kind: 'not-found' });
    await containers.stop('one', { graceMs: 0 });
  });

  it('undoes a creation that fails, and says why', async () => {
    const { containers } = rig;
    const wrong: [string, Parameters<typeof aContainer>, object][] = [
      ['image', ['bad', [], { image: 'nothing' }], { kind: 'not-found' }],
      ['user', ['bad', DEAF, { user: 'stranger' }], { message: /stranger/ }],
      [
        'bind source',
        ['bad', DEAF, { mounts: [{ type: 'MOUNT_TYPE_BIND', source: '/no/such', target: '/x' }] }],
        { kind: 'invalid-argument', message: /\/no\/such is not on this node/ },
      ],
      ['network', ['bad', DEAF, {}, { netns: '/no/such/netns' }], { message: /netns/ }],
    ];
    for (const [name, args, expected] of wrong) {
      await assert.rejects(containers.create(aContainer(...args)), expected, name);
      assert.equal(containers.get('bad'), undefined);
      assert.ok(!existsSync(join(rig.stateDir, 'containers/bad')), name);
      assert.ok(!existsSync(join(rig.stateDir, 'snapshots/bad')), name);
      for (const root of detectCgroups().roots) {
        assert.ok(!existsSync(`${root}${rig.cgroupParent}/group/bad`), name);
      }
    }
    await containers.create(aContainer('bad', DEAF));
    assert.equal(containers.get('bad')?.status, 'created', 'the id is free again');
  });
});
