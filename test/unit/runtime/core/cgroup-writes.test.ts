import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Limit } from '../../../../proto/gen/hatoba/v1/types.js';
import type { DiskThrottles, ResourceHost } from '../../../../runtime/core/cgroup-plan.js';
import { NO_THROTTLES } from '../../../../runtime/core/cgroup-plan.js';
import {
  planLimitWrites,
  planWeightWrites,
  type CgroupWrite,
  type ReadyLimits,
} from '../../../../runtime/core/cgroup-writes.js';

const MIB = 1024 * 1024;

const bytes = fc.integer({ min: 1, max: 40 }).map((n) => n * 4 * MIB);
const disk = fc.record({ major: fc.constant(8), minor: fc.nat(2), rate: fc.integer({ min: 1 }) });
const disks = fc.uniqueArray(disk, { maxLength: 3, selector: (d) => d.minor });
const throttles: fc.Arbitrary<DiskThrottles> = fc.record({
  readBps: disks,
  writeBps: disks,
  readIops: disks,
  writeIops: disks,
});
const limits: fc.Arbitrary<Limit> = fc
  .record({
    nanoCpus: fc.constantFrom(0, 1e6, 5e8, 2e9),
    memoryBytes: fc.option(bytes, { nil: 0 }),
    pids: fc.constantFrom(0, 10, 500),
    cpuShares: fc.constantFrom(0, 2, 512, 1024, 262_144),
    cpusetCpus: fc.constantFrom('', '0', '0-1'),
    cpusetMems: fc.constantFrom('', '0'),
    memoryReservationBytes: fc.option(bytes, { nil: 0 }),
    blkioWeight: fc.constantFrom(0, 10, 100, 1000),
    swap: fc.constantFrom('none', 'some', 'any'),
  })
  .map(({ swap, ...rest }) =>
    Limit.fromPartial({
      ...rest,
      memorySwapBytes:
        rest.memoryBytes === 0 || swap === 'none'
          ? 0
          : swap === 'any'
            ? -1
            : rest.memoryBytes + 8 * MIB,
    }),
  );
const ready: fc.Arbitrary<ReadyLimits> = fc.record({ limits, throttles });
const hosts: fc.Arbitrary<ResourceHost> = fc.record({
  cgroupVersion: fc.constantFrom(1 as const, 2 as const),
  swapLimit: fc.boolean(),
  cpus: fc.constant('0-1'),
  mems: fc.constant('0'),
});

/** Files with what was last written to them; those of throttles by their disk too. */
type Files = Map<string, string>;

function apply(files: Files, writes: readonly CgroupWrite[]): void {
  for (const { files: names } of writes) {
    const { name = '', value = '' } = names[0] ?? {};
    const device = /^(\d+:\d+) (\w+=)?(\w+)$/.exec(value);
    if (device === null) files.set(name, value);
    else if (device[3] === '0' || device[3] === 'max')
      files.delete(`${name} ${device[1]} ${device[2]}`);
    else files.set(`${name} ${device[1]} ${device[2]}`, value);
  }
}

const EVERYTHING = Limit.fromPartial({
  nanoCpus: 1e9,
  memoryBytes: 8 * MIB,
  memorySwapBytes: 12 * MIB,
  memoryReservationBytes: 4 * MIB,
  pids: 7,
  cpuShares: 7,
  cpusetCpus: '1',
  cpusetMems: '1',
  blkioWeight: 7,
});

/** What the kernel has in a new one. */
function newCgroup(host: ResourceHost): Files {
  const files: Files = new Map();
  const nothing = { limits: Limit.fromPartial({}), throttles: NO_THROTTLES };
  const all = { limits: EVERYTHING, throttles: NO_THROTTLES };
  apply(files, planLimitWrites(nothing, all, host));
  return files;
}

function isNoDefault(write: CgroupWrite): boolean {
  return !write.isDefault;
}

describe('planLimitWrites', () => {
  it('leads from any limits to any other, as if they had been there from the start', () => {
    fc.assert(
      fc.property(ready, ready, hosts, (before, after, host) => {
        const changed = newCgroup(host);
        apply(changed, planLimitWrites(before, undefined, host));
        apply(changed, planLimitWrites(after, before, host));
        const fresh = newCgroup(host);
        apply(fresh, planLimitWrites(after, undefined, host));
        assert.deepEqual(changed, fresh);
      }),
    );
  });

  it('writes nothing when nothing changes', () => {
    fc.assert(
      fc.property(ready, hosts, (same, host) => {
        const rates = Object.values(same.throttles).flat();
        assert.equal(planLimitWrites(same, same, host).length, rates.length);
      }),
    );
  });

  it('never asks v1 for more memory than memory with swap', () => {
    const host: ResourceHost = { cgroupVersion: 1, swapLimit: true, cpus: '0', mems: '0' };
    const toNumber = (text = '-1'): number => (text === '-1' ? Infinity : Number(text));
    fc.assert(
      fc.property(ready, ready, (before, after) => {
        const files: Files = new Map();
        for (const write of [
          ...planLimitWrites(before, undefined, host),
          ...planLimitWrites(after, before, host),
        ]) {
          apply(files, [write]);
          const memory = toNumber(files.get('memory.limit_in_bytes'));
          assert.ok(memory <= toNumber(files.get('memory.memsw.limit_in_bytes')));
        }
      }),
    );
  });

  it('speaks the language of each version', () => {
    const after: ReadyLimits = {
      limits: Limit.fromPartial({
        nanoCpus: 5e8,
        memoryBytes: 64 * MIB,
        memorySwapBytes: 96 * MIB,
        blkioWeight: 1000,
      }),
      throttles: { ...NO_THROTTLES, writeIops: [{ major: 8, minor: 16, rate: 5 }] },
    };
    const texts = (cgroupVersion: 1 | 2): string[] =>
      planLimitWrites(after, undefined, { cgroupVersion, swapLimit: true, cpus: '0', mems: '0' })
        .filter(isNoDefault)
        .flatMap((w) => w.files.map((f) => `${w.controller} ${f.name} ${f.value}`));
    assert.deepEqual(texts(1), [
      `memory memory.limit_in_bytes ${64 * MIB}`,
      `memory memory.memsw.limit_in_bytes ${96 * MIB}`,
      'cpu cpu.cfs_quota_us 50000',
      'blkio blkio.weight 1000',
      'blkio blkio.bfq.weight 1000',
      'blkio blkio.throttle.write_iops_device 8:16 5',
    ]);
    assert.deepEqual(texts(2), [
      `memory memory.max ${64 * MIB}`,
      `memory memory.swap.max ${32 * MIB}`,
      'cpu cpu.max 50000 100000',
      'blkio io.bfq.weight 1000',
      'blkio io.weight default 10000',
      'blkio io.max 8:16 wiops=5',
    ]);
  });
});

describe('planWeightWrites', () => {
  it('is for those that have one', () => {
    for (const version of [1, 2] as const) {
      assert.deepEqual(planWeightWrites(Limit.fromPartial({}), version), []);
      const writes = planWeightWrites(Limit.fromPartial({ blkioWeight: 10 }), version);
      assert.deepEqual(
        writes.map((w) => w.files.map((f) => f.value)),
        [version === 1 ? ['10', '10'] : ['10', 'default 1']],
      );
    }
  });
});
