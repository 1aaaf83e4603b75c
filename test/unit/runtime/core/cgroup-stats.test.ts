import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  parseBlkio,
  parseCount,
  parseIoStat,
  parseNetDev,
  toSample,
  type StatsTexts,
} from '../../../../runtime/core/cgroup-stats.js';
import { parseBootTimeMs, parseProcess } from '../../../../runtime/core/process-files.js';

const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    5000       50    0    0    0     0          0         0     5000       50    0    0    0     0       0          0
  eth0:    1200       10    0    0    0     0          0         0      800        9    0    0    0     0       0          0
  eth1:      34        1    0    0    0     0          0         0        6        1    0    0    0     0       0          0
`;
const EMPTY: Omit<StatsTexts, 'version'> = {
  cpuUsage: '',
  cpuStat: '',
  memoryUsage: '',
  memoryStat: '',
  memoryLimits: [],
  pidsCurrent: '',
  pidsMax: '',
  io: '',
  netDev: '',
};

describe('toSample', () => {
  it('reads version 1', () => {
    const sample = toSample(
      {
        version: 1,
        cpuUsage: '123456789\n',
        cpuStat: 'nr_periods 10\nnr_throttled 2\nthrottled_time 555\n',
        memoryUsage: '10000\n',
        memoryStat:
          'cache 1\ninactive_file 2\nhierarchical_memory_limit 50000\ntotal_cache 3000\ntotal_inactive_file 2500\n',
        memoryLimits: [],
        pidsCurrent: '3\n',
        pidsMax: 'max\n',
        io: '254:0 Read 4096\n254:0 Write 100\n254:0 Sync 1\n254:16 Read 4\nTotal 4200\n',
        netDev: NET_DEV,
      },
      1e9,
    );
    assert.deepEqual(sample, {
      cpuTotalNs: 123_456_789,
      cpuThrottledNs: 555,
      memoryBytes: 7500,
      memoryCacheBytes: 3000,
      memoryLimitBytes: 50_000,
      pids: 3,
      pidsLimit: 0,
      networkRxBytes: 1234,
      networkTxBytes: 806,
      blockReadBytes: 4100,
      blockWriteBytes: 100,
    });
  });

  it('reads version 2, where the tightest limit above counts', () => {
    const sample = toSample(
      {
        ...EMPTY,
        version: 2,
        cpuStat: 'usage_usec 12\nuser_usec 6\nthrottled_usec 3\n',
        memoryUsage: '10000\n',
        memoryStat: 'anon 1\nfile 3000\ninactive_file 2500\n',
        memoryLimits: ['max\n', '70000\n', 'max\n'],
        pidsCurrent: '3\n',
        pidsMax: '20\n',
        io: '254:0 rbytes=4096 wbytes=100 rios=1 wios=1 dbytes=7 dios=0\n8:0 rbytes=4 wbytes=0 rios=1\n',
      },
      1e9,
    );
    assert.deepEqual(sample, {
      cpuTotalNs: 12_000,
      cpuThrottledNs: 3000,
      memoryBytes: 7500,
      memoryCacheBytes: 3000,
      memoryLimitBytes: 70_000,
      pids: 3,
      pidsLimit: 20,
      networkRxBytes: 0,
      networkTxBytes: 0,
      blockReadBytes: 4100,
      blockWriteBytes: 100,
    });
  });

  it("names the machine's memory where there is no limit", () => {
    const v1 = {
      ...EMPTY,
      version: 1 as const,
      memoryStat: 'hierarchical_memory_limit 9223372036854771712',
    };
    assert.equal(toSample(v1, 777).memoryLimitBytes, 777);
    assert.equal(
      toSample({ ...EMPTY, version: 2, memoryLimits: ['max', ''] }, 777).memoryLimitBytes,
      777,
    );
  });

  it('makes of any texts numbers that are none below 0', () => {
    const word = fc.constantFrom(
      'lo:',
      'eth0:',
      '254:0',
      'Read',
      'rbytes=',
      'usage_usec',
      'max',
      '-1',
      '\n',
      ' ',
      '7',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(word, { maxLength: 20 }).map((w) => w.join(' ')),
    );
    const texts = fc.record({
      version: fc.constantFrom(1 as const, 2 as const),
      cpuUsage: text,
      cpuStat: text,
      memoryUsage: text,
      memoryStat: text,
      memoryLimits: fc.array(text),
      pidsCurrent: text,
      pidsMax: text,
      io: text,
      netDev: text,
    });
    fc.assert(
      fc.property(texts, (any) => {
        for (const value of Object.values(toSample(any, 1000))) assert.ok(value >= 0);
      }),
    );
  });

  it('adds disks and interfaces up', () => {
    const counts = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 5 });
    fc.assert(
      fc.property(counts, (pairs) => {
        const sum = (i: 0 | 1): number => pairs.reduce((all, pair) => all + pair[i], 0);
        const io = { readBytes: sum(0), writeBytes: sum(1) };
        const v1 = pairs.map(
          ([r, w], i) => `8:${i} Read ${r}\n8:${i} Write ${w}\n8:${i} Total 9\n`,
        );
        const v2 = pairs.map(([r, w], i) => `8:${i} rbytes=${r} wbytes=${w} rios=1 wios=2\n`);
        const net = pairs.map(([r, w], i) => `eth${i}: ${r} 1 2 3 4 5 6 7 ${w} 1 2 3 4 5 6 7\n`);
        assert.deepEqual(parseBlkio(v1.join('')), io);
        assert.deepEqual(parseIoStat(v2.join('')), io);
        assert.deepEqual(parseNetDev(net.join('')), { rxBytes: sum(0), txBytes: sum(1) });
      }),
    );
  });

  it('takes a number or nothing', () => {
    assert.deepEqual(['7\n', 'max', '', '-1', '1.5'].map(parseCount), [7, 0, 0, 0, 0]);
  });
});

describe('parseProcess', () => {
  const STAT = '42 (a (b) c) S 7 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 12345 1000 20 0';

  it('reads what ps shows', () => {
    assert.deepEqual(
      parseProcess({
        stat: STAT,
        status: 'Name:\tx\nUid:\t1000\t33\t33\t33\nVmRSS:\t    2048 kB\n',
        cmdline: 'sh\0-c\0sleep 1\0',
      }),
      {
        pid: 42,
        parentPid: 7,
        uid: 33,
        startedAfterBootMs: 123_450,
        cpuMs: 2000,
        memoryBytes: 2 << 20,
        command: 'sh -c sleep 1',
      },
    );
    assert.equal(parseProcess({ stat: STAT, status: '', cmdline: '' })?.command, '[a (b) c]');
  });

  it('takes any text: a process, or none', () => {
    const text = fc.oneof(
      fc.string(),
      fc.integer({ min: 0, max: STAT.length }).map((n) => STAT.slice(0, n)),
    );
    fc.assert(
      fc.property(text, fc.string(), fc.string(), (stat, status, cmdline) => {
        const process = parseProcess({ stat, status, cmdline });
        if (process === undefined) return;
        for (const value of Object.values(process)) {
          assert.ok(typeof value === 'string' || Number.isFinite(value));
        }
      }),
    );
  });

  it('finds when the machine started', () => {
    assert.equal(parseBootTimeMs('cpu 1 2\nbtime 1700000000\nprocesses 5\n'), 1_700_000_000_000);
    assert.equal(parseBootTimeMs(''), 0);
  });
});
