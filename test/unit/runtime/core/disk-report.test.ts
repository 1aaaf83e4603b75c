import assert from 'node:assert/strict';
import fc from 'fast-check';
import { reportDisk, type MeasuredGroup } from '../../../../runtime/core/disk-report.js';

const FACTS = { images: [], containers: [], volumes: [], freeBytes: 7, totalBytes: 9 };

function group(members: Record<string, number>): MeasuredGroup {
  return { ownBytes: 1, members: new Map(Object.entries(members)) };
}

describe('the report of disk usage', () => {
  it('counts what containers use as active, and the rest as reclaimable', () => {
    const report = reportDisk(
      {
        layers: group({ base: 100, web: 10, old: 20 }),
        blobs: group({ b1: 50, b2: 5, b3: 7 }),
        containers: [group({ run: 3, dead: 4 }), group({ run: 30, dead: 40 })],
        volumes: group({ data: 500, spare: 6 }),
        partial: [group({ p: 9 })],
        otherBytes: 2,
      },
      {
        images: [
          { layers: ['base', 'web'], blobs: ['b1', 'b2'], isUsed: true },
          { layers: ['base', 'old'], blobs: ['b1', 'b3'], isUsed: false },
        ],
        containers: [
          { id: 'run', isRunning: true },
          { id: 'dead', isRunning: false },
        ],
        volumes: [
          { name: 'data', isUsed: true },
          { name: 'spare', isUsed: false },
        ],
        freeBytes: 1000,
        totalBytes: 2000,
      },
    );
    assert.deepEqual(report, {
      images: { count: 2, active: 1, sizeBytes: 131, reclaimableBytes: 20 },
      blobs: { count: 3, active: 2, sizeBytes: 63, reclaimableBytes: 7 },
      containers: { count: 2, active: 1, sizeBytes: 79, reclaimableBytes: 44 },
      volumes: { count: 2, active: 1, sizeBytes: 507, reclaimableBytes: 6 },
      partial: { count: 1, active: 0, sizeBytes: 10, reclaimableBytes: 9 },
      other: { count: 0, active: 0, sizeBytes: 2, reclaimableBytes: 0 },
      totalBytes: 792,
      diskFreeBytes: 1000,
      diskTotalBytes: 2000,
    });
  });

  it('adds up to all that was measured', () => {
    const anyGroup = fc.record({
      ownBytes: fc.nat(),
      members: fc.array(fc.tuple(fc.string(), fc.nat())).map((members) => new Map(members)),
    });
    const measured = fc.record({
      layers: anyGroup,
      blobs: anyGroup,
      containers: fc.array(anyGroup, { maxLength: 3 }),
      volumes: anyGroup,
      partial: fc.array(anyGroup, { maxLength: 2 }),
      otherBytes: fc.nat(),
    });
    fc.assert(
      fc.property(measured, (disk) => {
        const groups = [disk.layers, disk.blobs, disk.volumes, ...disk.containers, ...disk.partial];
        const numbers = groups.flatMap((g) => [g.ownBytes, ...g.members.values()]);
        const all = numbers.reduce((a, b) => a + b, disk.otherBytes);
        assert.equal(reportDisk(disk, FACTS).totalBytes, all);
      }),
    );
  });
});
