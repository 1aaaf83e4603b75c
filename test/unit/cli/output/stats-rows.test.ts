import assert from 'node:assert/strict';
import { formatListing } from '../../../../cli/output/listing.js';
import { PROCESSES, processRow, STATS, statsRow } from '../../../../cli/output/stats-rows.js';
import { ContainerStats } from '../../../../proto/gen/hatoba/v1/engine.js';

const MIB = 1024 * 1024;
const OPTIONS = { output: 'table', quiet: false, filter: [] } as const;

describe('stats and processes of containers, as they are shown', () => {
  it('has the columns of docker stats', () => {
    const stats = ContainerStats.fromPartial({
      containerId: '0123456789abcdef',
      name: 'web',
      cpuCores: 0.12345,
      memoryBytes: 16 * MIB,
      memoryLimitBytes: 64 * MIB,
      networkRxBytes: 2048,
      networkTxBytes: 10,
      blockReadBytes: 3 * MIB,
      pids: 4,
    });
    assert.equal(
      formatListing([statsRow(stats)], STATS, OPTIONS),
      [
        'CONTAINER ID   NAME   CPU %    MEM USAGE / LIMIT   MEM %    NET I/O      BLOCK I/O   PIDS',
        '0123456789ab   web    12.35%   16MiB / 64MiB       25.00%   2KiB / 10B   3MiB / 0B   4',
      ].join('\n'),
    );
  });

  it('has no rate before the second sample, and no share of nothing', () => {
    const row = statsRow(ContainerStats.fromPartial({}));
    assert.equal(row.cpuPercent, null);
    assert.equal(row.memoryPercent, 0);
    assert.match(formatListing([row], STATS, OPTIONS), / {3}-- {3}/);
  });

  it('lists processes', () => {
    const row = processRow({
      pid: 7,
      parentPid: 1,
      user: 'root',
      startedAtMs: Date.UTC(2024, 1, 3, 4, 5, 6),
      cpuMs: 62_510,
      memoryBytes: MIB,
      command: 'nginx: master',
    });
    assert.equal(
      formatListing([row], PROCESSES, OPTIONS),
      [
        'PID   PPID   USER   STARTED               CPU       RSS    COMMAND',
        '7     1      root   2024-02-03 04:05:06   1:02.51   1MiB   nginx: master',
      ].join('\n'),
    );
  });
});
