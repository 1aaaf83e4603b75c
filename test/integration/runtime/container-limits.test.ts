import assert from 'node:assert/strict';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { Limit, type DeepPartial } from '../../../proto/gen/hatoba/v1/types.js';
import { detectCgroups } from '../../../runtime/cgroup/cgroup-fs.js';
import type { CgroupController } from '../../../runtime/core/cgroup-writes.js';
import { splitDeviceNumber } from '../../../runtime/oci/host-devices.js';
import { aContainer, runExec, runToEnd } from '../../support/container-rig.js';
import {
  CGROUP_VERSION,
  readCgroup,
  readOwnCgroup,
  useContainerRig,
} from '../../support/container-suite.js';
import { eventually } from '../../support/eventually.js';
import { skip } from '../../support/requires.js';

const MIB = 1024 * 1024;
const IDLE = ['sleep', '1000'];
const BUSY = ['sh', '-c', 'while :; do :; done'];

const MEMORY = { v1: 'memory.limit_in_bytes', v2: 'memory.max' };
const SWAP = { v1: 'memory.memsw.limit_in_bytes', v2: 'memory.swap.max' };
const RESERVATION = { v1: 'memory.soft_limit_in_bytes', v2: 'memory.low' };
const QUOTA = { v1: 'cpu.cfs_quota_us', v2: 'cpu.max' };
const SHARES = { v1: 'cpu.shares', v2: 'cpu.weight' };
const CPUS = { v1: 'cpuset.cpus', v2: 'cpuset.cpus' };
const PIDS = { v1: 'pids.max', v2: 'pids.max' };

const byVersion = <T>(v1: T, v2: T): T => (CGROUP_VERSION === 1 ? v1 : v2);

describe('containers on crun: limits', function () {
  const rig = useContainerRig();

  async function start(
    id: string,
    limits: DeepPartial<Limit>,
    args: readonly string[] = IDLE,
    cgroupGroup = 'group',
  ): Promise<void> {
    await rig().containers.create(aContainer(id, args, {}, { limits, cgroupGroup }));
    await rig().containers.start(id);
  }

  function update(id: string, limits: DeepPartial<Limit>): Promise<unknown> {
    return rig().containers.update(id, { limits: Limit.fromPartial(limits) });
  }

  function own(id: string, controller: CgroupController, file: { v1: string; v2: string }): string {
    return readOwnCgroup(rig().containers.get(id), controller, file);
  }

  it('are all in the cgroup of a new container', async () => {
    await start('all', {
      nanoCpus: 5e8,
      cpuShares: 2048,
      cpusetCpus: '0',
      memoryBytes: 64 * MIB,
      memorySwapBytes: 96 * MIB,
      memoryReservationBytes: 32 * MIB,
      pids: 33,
    });
    assert.deepEqual(
      [
        own('all', 'cpu', QUOTA),
        own('all', 'cpu', SHARES),
        own('all', 'cpuset', CPUS),
        own('all', 'memory', MEMORY),
        own('all', 'memory', RESERVATION),
        own('all', 'pids', PIDS),
      ],
      [
        byVersion('50000', '50000 100000'),
        byVersion('2048', '174'),
        '0',
        String(64 * MIB),
        String(32 * MIB),
        '33',
      ],
    );
    assert.equal(own('all', 'memory', SWAP), String(byVersion(96 * MIB, 32 * MIB)));
    const { stdout } = await runExec(rig().containers, 'all', [
      'grep',
      'Cpus_allowed_list',
      '/proc/self/status',
    ]);
    assert.match(stdout, /:\t0$/m);
  });

  it('keep a container out of the swap unless it may go there', async () => {
    await start('noswap', { memoryBytes: 64 * MIB });
    assert.equal(own('noswap', 'memory', SWAP), String(byVersion(64 * MIB, 0)));
    await start('swap', { memoryBytes: 64 * MIB, memorySwapBytes: -1 });
    const swap = own('swap', 'memory', SWAP);
    assert.ok(swap === 'max' || Number(swap) > 2 ** 60, swap);
  });

  it('bound a disk by the path of its device', async function () {
    const disk = ['/dev/vda', '/dev/sda', '/dev/xvda', '/dev/nvme0n1', '/dev/zram0'].find(isDisk);
    if (disk === undefined) return skip(this, 'needs a disk to bound');
    const { major, minor } = splitDeviceNumber(statSync(disk).rdev);
    const limits = { blkioDeviceReadBps: [{ path: disk, rate: MIB }] };
    await start('disk', limits);
    const throttle = { v1: 'blkio.throttle.read_bps_device', v2: 'io.max' };
    assert.match(own('disk', 'blkio', throttle), new RegExp(`^${major}:${minor} .*${MIB}\\b`, 'm'));
    await update('disk', { blkioDeviceWriteIops: [{ path: disk, rate: 7 }] });
    assert.ok(!own('disk', 'blkio', throttle).includes(String(MIB)), 'the former one is gone');
    const iops = { v1: 'blkio.throttle.write_iops_device', v2: 'io.max' };
    assert.match(own('disk', 'blkio', iops), new RegExp(`^${major}:${minor} .*\\b7\\b`, 'm'));
    await assert.rejects(start('null', { blkioDeviceReadBps: [{ path: '/dev/null', rate: 1 }] }), {
      kind: 'invalid-argument',
      message: /\/dev\/null is no disk/,
    });
  });

  it('give a container its part of a busy disk, where the kernel can', async () => {
    await start('plain', {});
    const folder = `${detectCgroups().controllers.blkio ?? ''}${rig().containers.get('plain')?.cgroupPath ?? ''}`;
    const files = byVersion(['blkio.weight', 'blkio.bfq.weight'], ['io.bfq.weight', 'io.weight']);
    const file = files.find((name) => existsSync(`${folder}/${name}`));
    if (file === undefined) {
      await assert.rejects(start('weighty', { blkioWeight: 500 }), {
        kind: 'failed-precondition',
        message: /weight of the disk cannot be set: this kernel has no/,
      });
      return;
    }
    await start('weighty', { blkioWeight: 500 });
    const want =
      file === 'io.weight' ? 'default 4950' : file === 'io.bfq.weight' ? 'default 500' : '500';
    assert.equal(own('weighty', 'blkio', { v1: file, v2: file }).split('\n')[0], want);
  });

  it('share a busy core by their shares', async () => {
    const limits = { cpusetCpus: '0' };
    await start('small', { ...limits, cpuShares: 512 }, BUSY);
    await start('large', { ...limits, cpuShares: 2048 }, BUSY);
    // Both at one time: a machine that is busy may let this process wait between two looks.
    const used = (): number[] =>
      ['small', 'large'].map((id) => readUsedNs(rig().containers.get(id)?.cgroupPath ?? ''));
    const before = used();
    const [small = 0, large = 0] = await eventually(() => {
      const spent = used().map((ns, i) => ns - (before[i] ?? 0));
      assert.ok((spent[0] ?? 0) + (spent[1] ?? 0) > 4e8);
      return spent;
    });
    const ratio = large / small;
    assert.ok(ratio > 2 && ratio < 8, `512 to 2048 shares had 1 to ${ratio.toFixed(2)}`);
  });

  it('refuse cores this machine does not have, and leave nothing of the container', async () => {
    await assert.rejects(start('far', { cpusetCpus: '0,4095' }), {
      kind: 'invalid-argument',
      message: /core 4095 is not available/,
    });
    assert.equal(rig().containers.get('far'), undefined);
  });

  it('kill what takes more memory than it may, and say so', async () => {
    const eat = ['sh', '-c', 'x=$(head -c 200000000 /dev/zero | tr "\\0" x)'];
    const { exitCode, oomKilled } = await runToEnd(
      rig().containers,
      aContainer('oom', eat, {}, { limits: { memoryBytes: 16 * MIB } }),
    );
    assert.deepEqual({ exitCode, oomKilled }, { exitCode: 137, oomKilled: true });
  });

  it('refuse the next process', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all';
    const { exitCode, output } = await runToEnd(
      rig().containers,
      aContainer('forks', ['sh', '-c', script], {}, { limits: { pids: 4 } }),
    );
    assert.notEqual(exitCode, 0);
    assert.ok(
      output.some((line) => /can't fork/.test(line)),
      output.join(),
    );
    assert.ok(!output.includes('stdout: all'));
  });

  describe('changed while it runs', () => {
    it('hold at once, up and down, and after a restart', async () => {
      await start('live', { memoryBytes: 64 * MIB, pids: 20 });
      const pid = rig().containers.get('live')?.pid;
      await update('live', {
        memoryBytes: 128 * MIB,
        nanoCpus: 1e9,
        cpusetCpus: '0',
        cpuShares: 512,
      });
      const read = (): string[] => [
        own('live', 'memory', MEMORY),
        own('live', 'cpu', QUOTA),
        own('live', 'pids', PIDS),
        own('live', 'cpuset', CPUS),
        own('live', 'cpu', SHARES),
      ];
      const want = [
        String(128 * MIB),
        byVersion('100000', '100000 100000'),
        'max',
        '0',
        byVersion('512', '59'),
      ];
      assert.deepEqual(read(), want);
      assert.equal(rig().containers.get('live')?.pid, pid, 'the same process');
      await rig().containers.stop('live', { graceMs: 0 });
      await rig().containers.start('live');
      assert.deepEqual(read(), want);
      await update('live', { memoryBytes: 32 * MIB });
      assert.equal(own('live', 'memory', MEMORY), String(32 * MIB));
      assert.equal(own('live', 'cpu', QUOTA), byVersion('-1', 'max 100000'));
      assert.equal(rig().containers.get('live')?.config.limits.memoryBytes, 32 * MIB);
    });

    it('are refused below what is in use, all of them, in clear words', async () => {
      const script = 'x=$(head -c 30000000 /dev/zero | tr "\\0" x); echo full; sleep 1000';
      await start('full', { memoryBytes: 256 * MIB }, ['sh', '-c', script]);
      await eventually(async () => {
        const stats = await rig().containers.stats('full');
        assert.ok((stats?.memoryBytes ?? 0) > 25 * MIB);
      });
      await assert.rejects(update('full', { memoryBytes: 8 * MIB, pids: 5 }), {
        kind: 'failed-precondition',
        message: /memory.* cannot be set to 8388608: more than that is in use \(\d+ bytes\)/,
      });
      assert.equal(own('full', 'memory', MEMORY), String(256 * MIB));
      assert.equal(own('full', 'pids', PIDS), 'max');
      assert.equal(rig().containers.get('full')?.config.limits.memoryBytes, 256 * MIB);
      assert.equal(rig().containers.get('full')?.status, 'running');
    });

    it('wait for the next start of one that has ended', async () => {
      await runToEnd(
        rig().containers,
        aContainer('ended', ['sh', '-c', 'test -e /x || touch /x && sleep 0']),
      );
      await update('ended', { pids: 17 });
      await assert.rejects(update('ended', { cpuShares: 1 }), { kind: 'invalid-argument' });
      assert.equal(rig().containers.get('ended')?.config.limits.pids, 17);
    });
  });

  describe('of a group', () => {
    const group = (): string => `${rig().cgroupParent}/team`;

    afterEach(() => rig().containers.setGroupLimits('team', Limit.fromPartial({})));

    it('bound its containers together: two that want a core each get half of one', async () => {
      await rig().containers.setGroupLimits('team', Limit.fromPartial({ nanoCpus: 5e8 }));
      for (const id of ['busy1', 'busy2']) await start(id, {}, BUSY, 'team');
      preferOverOthers(rig().cgroupParent);
      const before = readCpu(group());
      // The kernel's own periods are the clock: a busy machine makes the test longer, not wrong.
      const after = await eventually(() => {
        const now = readCpu(group());
        assert.ok(now.throttled - before.throttled >= 10, 'they want more than they have');
        return now;
      });
      const share = (after.usedNs - before.usedNs) / ((after.periods - before.periods) * 1e8);
      assert.ok(share < 0.58, `together they had ${share} of a core`);
      assert.ok(share > 0.2, `together they had ${share} of a core`);
      for (const id of ['busy1', 'busy2']) {
        assert.ok(((await rig().containers.stats(id))?.cpuTotalNs ?? 0) > 0, id);
      }
    });

    it('hold for those that are there, those to come, and for the next engine', async () => {
      await start('first', {}, IDLE, 'team');
      const limits = { memoryBytes: 64 * MIB, pids: 30, cpusetCpus: '0' };
      await rig().containers.setGroupLimits('team', Limit.fromPartial(limits));
      const read = (): string[] => [
        readCgroup(group(), 'memory', MEMORY),
        readCgroup(group(), 'pids', PIDS),
        readCgroup(group(), 'cpuset', CPUS),
      ];
      assert.deepEqual(read(), [String(64 * MIB), '30', '0']);
      assert.equal((await rig().containers.stats('first'))?.memoryLimitBytes, 64 * MIB);
      await rig().containers.remove('first', { force: true });
      await rig().reopen();
      await start('second', {}, IDLE, 'team');
      assert.deepEqual(read(), [String(64 * MIB), '30', '0']);
      await rig().containers.setGroupLimits('team', Limit.fromPartial({ pids: 40 }));
      assert.equal(readCgroup(group(), 'pids', PIDS), '40');
      assert.notEqual(readCgroup(group(), 'memory', MEMORY), String(64 * MIB));
    });

    it('hold against a container that asks for more, whenever either is set', async () => {
      await rig().containers.setGroupLimits('team', Limit.fromPartial({ nanoCpus: 5e8 }));
      await start('greedy', { nanoCpus: 1e9 }, IDLE, 'team');
      await update('greedy', { nanoCpus: 2e9 });
      const quota = (): string => own('greedy', 'cpu', QUOTA);
      assert.equal(quota(), byVersion('50000', '200000 100000'));
      await rig().containers.setGroupLimits('team', Limit.fromPartial({ nanoCpus: 2e8 }));
      assert.equal(readCgroup(group(), 'cpu', QUOTA), byVersion('20000', '20000 100000'));
      assert.equal(quota(), byVersion('20000', '200000 100000'));
      assert.equal(rig().containers.get('greedy')?.config.limits.nanoCpus, 2e9, 'as it was asked');
    });

    it('kill in one container what the group together may not have', async () => {
      await rig().containers.setGroupLimits('team', Limit.fromPartial({ memoryBytes: 24 * MIB }));
      const eat = ['sh', '-c', 'x=$(head -c 200000000 /dev/zero | tr "\\0" x)'];
      const config = aContainer('glutton', eat, {}, { cgroupGroup: 'team' });
      const { exitCode } = await runToEnd(rig().containers, config);
      assert.equal(exitCode, 137);
    });
  });

  describe('and what is used of them', () => {
    it('is counted as long as it runs', async () => {
      const netns = await rig().netns();
      const limits = { memoryBytes: 64 * MIB, pids: 50 };
      const script =
        'head -c 4000000 /dev/zero > /f; sync; while :; do i=$((i+1)); [ $i = 20000 ] && exec sleep 1000; done';
      await rig().containers.create(
        aContainer('used', ['sh', '-c', script], {}, { limits, netns }),
      );
      assert.equal(await rig().containers.stats('used'), undefined);
      await rig().containers.start('used');
      await eventually(async () => {
        const stats = await rig().containers.stats('used');
        assert.ok(stats !== undefined && stats.cpuTotalNs > 1e6 && stats.memoryBytes > 0);
        assert.ok(stats.memoryBytes < 64 * MIB);
        assert.equal(stats.memoryLimitBytes, 64 * MIB);
        assert.equal(stats.pidsLimit, 50);
        assert.equal(stats.pids, 1);
        assert.equal(stats.oomKills, 0);
        assert.deepEqual([stats.networkRxBytes, stats.networkTxBytes], [0, 0]);
        assert.equal(stats.name, 'used');
      });
      await rig().containers.stop('used', { graceMs: 0 });
      assert.equal(await rig().containers.stats('used'), undefined);
    });

    it('is told of each process', async () => {
      await start('top', {}, ['sh', '-c', 'sleep 1001 & exec sleep 1002']);
      await eventually(async () => {
        const list = await rig().containers.top('top');
        assert.deepEqual(list.map((p) => p.command).toSorted(), ['sleep 1001', 'sleep 1002']);
        const [first, second] = list;
        assert.equal(first?.pid, rig().containers.get('top')?.pid);
        assert.equal(second?.parentPid, first?.pid);
        assert.equal(first?.user, 'root');
        assert.ok(Math.abs(first.startedAtMs - Date.now()) < 60_000);
      });
      await rig().containers.stop('top', { graceMs: 0 });
      assert.deepEqual(await rig().containers.top('top'), []);
    });
  });
});

function isDisk(path: string): boolean {
  return existsSync(path) && statSync(path).isBlockDevice();
}

/** The machine may be busy with other things. */
function preferOverOthers(path: string): void {
  const { cpu = '' } = detectCgroups().controllers;
  const [file, value] = byVersion(['cpu.shares', '262144'], ['cpu.weight', '10000']);
  writeFileSync(`${cpu}${path}/${file}`, value);
}

/** @param path of a cgroup with a quota in periods of 100 ms */
function readCpu(path: string): { usedNs: number; periods: number; throttled: number } {
  const stat = readCgroup(path, 'cpu', { v1: 'cpu.stat', v2: 'cpu.stat' });
  const field = (name: string): number =>
    Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? NaN);
  return {
    usedNs: readUsedNs(path),
    periods: field('nr_periods'),
    throttled: field('nr_throttled'),
  };
}

function readUsedNs(path: string): number {
  const text = readCgroup(path, 'cpuacct', { v1: 'cpuacct.usage', v2: 'cpu.stat' });
  return CGROUP_VERSION === 1 ? Number(text) : Number(/^usage_usec (\d+)$/m.exec(text)?.[1]) * 1000;
}
