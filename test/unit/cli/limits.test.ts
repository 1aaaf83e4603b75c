import assert from 'node:assert/strict';
import { Command } from 'commander';
import fc from 'fast-check';
import { addLimitOptions, toLimit, type LimitFlags } from '../../../cli/limits.js';
import { Limit } from '../../../proto/gen/hatoba/v1/types.js';

function parse(words: readonly string[]): LimitFlags {
  const command = addLimitOptions(new Command('run').exitOverride());
  command.configureOutput({ writeErr: () => undefined });
  return command.parse(words, { from: 'user' }).opts();
}

describe('limits on the command line', () => {
  it('reads every flag as Docker does', () => {
    const words =
      '--cpus 1.5 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 -m 64m --memory-swap 1g ' +
      '--memory-reservation 32m --pids-limit 20 --blkio-weight 300 --device-read-bps /dev/sda:1mb ' +
      '--device-read-bps /dev/by:colon:2k --device-write-bps /dev/sda:7 ' +
      '--device-read-iops /dev/sda:10 --device-write-iops /dev/sda:20';
    assert.deepEqual(toLimit(parse(words.split(' '))), {
      nanoCpus: 1_500_000_000,
      memoryBytes: 64 << 20,
      pids: 20,
      cpuShares: 512,
      cpusetCpus: '0-1',
      cpusetMems: '0',
      memorySwapBytes: 1 << 30,
      memoryReservationBytes: 32 << 20,
      blkioWeight: 300,
      blkioDeviceReadBps: [
        { path: '/dev/sda', rate: 1 << 20 },
        { path: '/dev/by:colon', rate: 2048 },
      ],
      blkioDeviceWriteBps: [{ path: '/dev/sda', rate: 7 }],
      blkioDeviceReadIops: [{ path: '/dev/sda', rate: 10 }],
      blkioDeviceWriteIops: [{ path: '/dev/sda', rate: 20 }],
    });
  });

  it('takes the time in each period for the cores that it is', () => {
    const cores = (words: string): number => toLimit(parse(words.split(' '))).nanoCpus / 1e9;
    assert.equal(cores('--cpu-quota 50000'), 0.5);
    assert.equal(cores('--cpus .5'), 0.5);
    assert.equal(cores('--cpu-period 20000 --cpu-quota 50000'), 2.5);
    assert.throws(() => cores('--cpus 1 --cpu-quota 50000'), /exclude each other/);
    assert.throws(() => cores('--cpu-period 50000'), /needs --cpu-quota/);
  });

  it('keeps what no flag speaks of, and takes away what one sets to nothing', () => {
    const before = Limit.fromPartial({ nanoCpus: 7, memoryBytes: 8, pids: 9, memorySwapBytes: -1 });
    assert.deepEqual(toLimit({}, before), before);
    const flags = parse(['--pids-limit', '-1', '--memory', '0', '--memory-swap', '-1']);
    assert.deepEqual(toLimit(flags, before), { ...before, pids: 0, memoryBytes: 0 });
  });

  for (const wrong of [
    ['--cpus', 'two'],
    ['--cpus', '-1'],
    ['--memory', '1x'],
    ['--pids-limit', '-2'],
    ['--cpu-shares', '1.5'],
    ['--device-read-bps', 'sda:1'],
    ['--device-read-bps', '/dev/sda'],
    ['--device-read-iops', '/dev/sda:1mb'],
  ]) {
    it(`refuses ${wrong.join(' ')}`, () => {
      assert.throws(() => parse(wrong), { code: 'commander.invalidArgument' });
    });
  }

  it('reads any number of cores to the nearest billionth', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 512_000_000 }), (millionths) => {
        const text = (millionths / 1e6).toFixed(6);
        assert.equal(toLimit(parse(['--cpus', text])).nanoCpus, millionths * 1000);
      }),
    );
  });
});
