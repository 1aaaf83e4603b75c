import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Limit, type DeepPartial } from '../../../../proto/gen/hatoba/v1/types.js';
import {
  cgroupPathOf,
  NO_THROTTLES,
  planResources,
  toCpuWeight,
  type ResourceHost,
} from '../../../../runtime/core/cgroup-plan.js';
import { followCpuset, formatCpuList, parseCpuList } from '../../../../runtime/core/cpu-list.js';
import { DEFAULT_DEVICE_RULES, parseDeviceRule } from '../../../../runtime/core/device-rules.js';
import { boundByGroup, checkLimits } from '../../../../runtime/core/limits.js';
import type { OciResources } from '../../../../runtime/core/oci-spec.js';

const MIB = 1024 * 1024;
const V1: ResourceHost = { cgroupVersion: 1, swapLimit: true, cpus: '0-3', mems: '0' };
const V2: ResourceHost = { ...V1, cgroupVersion: 2 };

function plan(limits: DeepPartial<Limit>, host = V1, throttles = NO_THROTTLES): OciResources {
  return planResources(Limit.fromPartial(limits), {
    host,
    throttles,
    privileged: false,
    extraDevices: [],
  });
}

describe('planResources', () => {
  it('limits nothing that is not limited', () => {
    for (const host of [V1, V2])
      assert.deepEqual(plan({}, host), { devices: DEFAULT_DEVICE_RULES });
  });

  it('says all limits in the words of OCI', () => {
    const limits = {
      nanoCpus: 1.5e9,
      cpuShares: 512,
      cpusetCpus: '0,2',
      cpusetMems: '0',
      memoryBytes: 64 * MIB,
      memorySwapBytes: 96 * MIB,
      memoryReservationBytes: 32 * MIB,
      pids: 20,
      blkioWeight: 300,
    };
    const throttles = { ...NO_THROTTLES, readBps: [{ major: 8, minor: 0, rate: 1000 }] };
    const { devices, ...v1 } = plan(limits, V1, throttles);
    assert.ok(devices.length > 5);
    const memory = { limit: 64 * MIB, swap: 96 * MIB, reservation: 32 * MIB };
    const cpu = { quota: 150_000, period: 100_000, cpus: '0,2', mems: '0' };
    const blockIO = { throttleReadBpsDevice: throttles.readBps };
    assert.deepEqual(v1, { memory, cpu: { ...cpu, shares: 512 }, pids: { limit: 20 }, blockIO });
    const { devices: same, ...v2 } = plan(limits, V2, throttles);
    assert.deepEqual(same, devices);
    assert.deepEqual(v2, {
      memory,
      cpu,
      pids: { limit: 20 },
      blockIO,
      unified: { 'cpu.weight': '59' },
    });
  });

  it('keeps a container at its memory limit out of the swap, unless it may go there', () => {
    const swapOf = (limits: DeepPartial<Limit>, host = V1): number | undefined =>
      plan({ memoryBytes: 8 * MIB, ...limits }, host).memory?.swap;
    assert.equal(swapOf({}), 8 * MIB);
    assert.equal(swapOf({ memorySwapBytes: -1 }), -1);
    assert.equal(swapOf({}, { ...V1, swapLimit: false }), undefined);
  });

  it('raises a quota the kernel would refuse', () => {
    assert.deepEqual(plan({ nanoCpus: 1e6 }).cpu, { quota: 1000, period: 100_000 });
  });
});

describe('checkLimits', () => {
  const wrong: [string, DeepPartial<Limit>, RegExp][] = [
    ['memory in which nothing can start', { memoryBytes: 1024 }, /at least 4 MiB/],
    ['negative memory', { memoryBytes: -1 }, /at least 4 MiB/],
    [
      'more reserved than allowed',
      { memoryBytes: 8 * MIB, memoryReservationBytes: 9 * MIB },
      /above/,
    ],
    ['swap without memory', { memorySwapBytes: 8 * MIB }, /needs a limit of memory/],
    ['less with swap than without', { memoryBytes: 9 * MIB, memorySwapBytes: 8 * MIB }, /together/],
    ['swap below -1', { memorySwapBytes: -2 }, /use -1/],
    ['shares out of range', { cpuShares: 1 }, /2 to 262144/],
    ['shares out of range above', { cpuShares: 262_145 }, /2 to 262144/],
    ['a weight out of range', { blkioWeight: 1001 }, /10 to 1000/],
    ['a core that is not there', { cpusetCpus: '1-4' }, /core 4 is not available; there are 0-3/],
    ['a memory node that is not there', { cpusetMems: '1' }, /memory node 1 is not available/],
    ['no list', { cpusetCpus: '0..2' }, /like 0-2,4/],
    ['negative cores', { nanoCpus: -1 }, /below 0/],
    ['a device without a path', { blkioDeviceReadBps: [{ path: 'sda', rate: 1 }] }, /its path/],
    ['a rate of nothing', { blkioDeviceWriteIops: [{ path: '/dev/x', rate: 0 }] }, /at least 1/],
  ];
  for (const [name, limits, message] of wrong) {
    it(`refuses ${name}`, () => {
      assert.throws(() => checkLimits(Limit.fromPartial(limits), V1), {
        kind: 'invalid-argument',
        message,
      });
    });
  }

  it('refuses swap only where the kernel does not count it, and only where it matters', () => {
    const host = { ...V1, swapLimit: false };
    const limits = { memoryBytes: 8 * MIB, memorySwapBytes: 16 * MIB };
    assert.throws(() => checkLimits(Limit.fromPartial(limits), host), {
      kind: 'failed-precondition',
      message: /swapaccount=1/,
    });
    checkLimits(Limit.fromPartial({ ...limits, memorySwapBytes: 8 * MIB }), host);
    checkLimits(Limit.fromPartial({ ...limits, memorySwapBytes: -1 }), host);
  });
});

describe('boundByGroup', () => {
  const limits = Limit.fromPartial({ nanoCpus: 2e9, cpusetCpus: '0-2', memoryBytes: 64 * MIB });
  const group = Limit.fromPartial({ nanoCpus: 1e9, cpusetCpus: '2-3', memoryBytes: 32 * MIB });

  it('gives no more cores than the group has, where the kernel would refuse', () => {
    assert.deepEqual(boundByGroup(limits, group, 1), { ...limits, nanoCpus: 1e9, cpusetCpus: '2' });
    assert.deepEqual(boundByGroup(limits, group, 2), limits);
  });

  it('leaves what either does not limit', () => {
    const none = Limit.fromPartial({});
    assert.deepEqual(boundByGroup(limits, undefined, 1), limits);
    assert.deepEqual(boundByGroup(limits, none, 1), { ...limits, cpusetCpus: '0-2' });
    assert.deepEqual(boundByGroup(none, group, 1), none);
  });

  it('refuses cores of which the group has none', () => {
    assert.throws(() => boundByGroup({ ...limits, cpusetCpus: '0-1' }, group, 1), {
      kind: 'failed-precondition',
      message: /nothing in common/,
    });
  });
});

describe('toCpuWeight', () => {
  it('takes the usual to the usual, and ends to ends', () => {
    assert.deepEqual([2, 1024, 262_144].map(toCpuWeight), [1, 100, 10_000]);
  });

  it('keeps the order, within the range', () => {
    const shares = fc.integer({ min: 2, max: 262_144 });
    fc.assert(
      fc.property(shares, shares, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)].map(toCpuWeight);
        assert.ok(low !== undefined && high !== undefined);
        assert.ok(Number.isInteger(low) && low >= 1 && low <= high && high <= 10_000);
      }),
    );
  });
});

describe('parseCpuList', () => {
  it('reads back what it means', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(200), fc.nat(5)), { maxLength: 6 }), (ranges) => {
        const text = ranges.map(([from, more]) => `${from}-${from + more}`).join(',');
        const want = ranges.flatMap(([from, more]) =>
          Array.from({ length: more + 1 }, (_, i) => from + i),
        );
        assert.deepEqual(parseCpuList(text, 'x'), new Set(want));
      }),
    );
  });

  it('is what is written of it', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(300)), (numbers) => {
        assert.deepEqual(parseCpuList(formatCpuList(new Set(numbers)), 'x'), new Set(numbers));
      }),
    );
  });

  it('takes any text, and either reads or refuses it', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9,\- a]{0,12}$/), (text) => {
        try {
          for (const n of parseCpuList(text, 'x')) assert.ok(Number.isInteger(n) && n >= 0);
        } catch (error) {
          assert.equal((error as { kind: string }).kind, 'invalid-argument');
        }
      }),
    );
  });
});

describe('followCpuset', () => {
  const list = (text: string): ReadonlySet<number> => parseCpuList(text, 'x');
  const cases: [own: string, before: string, after: string, want: string][] = [
    ['0-3', '0-3', '0-1', '0,1'],
    ['0-1', '0-1', '0-3', '0,1,2,3'],
    ['1-2', '0-3', '0-1', '1'],
    ['3', '0-3', '0-1', '0,1'],
    ['1', '0-3', '0-5', '1'],
  ];
  for (const [own, before, after, want] of cases) {
    it(`has ${want} where ${own} of ${before} becomes ${after}`, () => {
      const parent = { before: list(before), after: list(after) };
      assert.equal(formatCpuList(followCpuset(list(own), parent)), want);
    });
  }

  it('never leaves its parent, nor has nothing', () => {
    const some = fc.uniqueArray(fc.nat(8), { minLength: 1 }).map((n) => new Set(n));
    fc.assert(
      fc.property(some, some, some, (own, before, after) => {
        const next = followCpuset(own, { before, after });
        assert.ok(next.size > 0 && [...next].every((n) => after.has(n)));
      }),
    );
  });
});

describe('parseDeviceRule', () => {
  it('reads what the kernel would', () => {
    assert.deepEqual(parseDeviceRule('c 1:3 rwm'), {
      allow: true,
      type: 'c',
      major: 1,
      minor: 3,
      access: 'rwm',
    });
    assert.deepEqual(parseDeviceRule('b *:* m'), { allow: true, type: 'b', access: 'm' });
    assert.deepEqual(parseDeviceRule('a 7:* rw'), {
      allow: true,
      type: 'a',
      major: 7,
      access: 'rw',
    });
  });

  for (const wrong of [
    '',
    'c 1:3',
    'd 1:3 r',
    'c 1:3 x',
    'c 1:3 rr',
    'c -1:3 r',
    'c 1:3 rwm ',
    'c  1:3 r',
  ]) {
    it(`refuses "${wrong}"`, () => {
      assert.throws(() => parseDeviceRule(wrong), { kind: 'invalid-argument' });
    });
  }
});

describe('cgroupPathOf', () => {
  it('joins parent, group and id', () => {
    assert.equal(cgroupPathOf('/a/b/', 'g', 'x'), '/a/b/g/x');
    assert.throws(() => cgroupPathOf('/a', '../g', 'x'), { kind: 'invalid-argument' });
  });
});
