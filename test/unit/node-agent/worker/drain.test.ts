import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import type { Task } from '../../../../common/model/objects.js';
import { NetworkAttachment, TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { assignedTask } from '../tasks.js';
import { Rig } from './worker-rig.js';

describe('Worker, draining', () => {
  const DRAIN_MS = 5000;
  const attached = (changes: Parameters<typeof assignedTask>[0] = {}): Task =>
    assignedTask({
      networksAttachments: [
        NetworkAttachment.fromPartial({ networkId: 'a', addresses: ['10.0.1.7/24'] }),
      ],
      drainMs: DRAIN_MS,
      ...changes,
    });
  const leaving = (changes: Parameters<typeof assignedTask>[0] = {}): Task =>
    attached({ desiredState: TaskState.SHUTDOWN, ...changes });
  const isRunning = (rig: Rig): boolean => rig.executor.machine.running().includes('t1');
  const serving = async (connections: number | Error, scripts = {}): Promise<Rig> => {
    const rig = new Rig({ scripts });
    rig.executor.machine.connections.set('t1', connections);
    await rig.assign(attached());
    assert.equal(rig.status()?.state, TaskState.RUNNING);
    return rig;
  };

  it('stops a task at once to which nobody is connected', async () => {
    const rig = await serving(0);
    await rig.assign(leaving());
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
    assert.deepEqual(rig.draining, []);
  });

  it('waits for the last connection, and no longer', async () => {
    const rig = await serving(3);
    await rig.assign(leaving());
    assert.equal(rig.status()?.message, 'draining: 3 open connections');
    await rig.clock.advance(DRAIN_MS - 1000);
    assert.equal(isRunning(rig), true);
    rig.executor.machine.connections.set('t1', 0);
    await rig.clock.advance(200);
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
    assert.equal(rig.status()?.message, 'shutdown');
  });

  it('stops it when its time is over, whoever is still there', async () => {
    const rig = await serving(1);
    await rig.assign(leaving());
    await rig.clock.advance(DRAIN_MS - 1);
    assert.equal(isRunning(rig), true);
    await rig.clock.advance(1);
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
  });

  it('gives no hours when the clock is set back', async () => {
    const rig = await serving(1);
    await rig.assign(leaving());
    await rig.clock.advance(DRAIN_MS - 1000);
    rig.clock.setBack(3_600_000);
    await rig.clock.advance(DRAIN_MS + 200);
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
  });

  it('says how many are left, but not at each look', async () => {
    const rig = await serving(100);
    await rig.assign(leaving());
    for (let left = 99; left > 70; left--) {
      rig.executor.machine.connections.set('t1', left);
      await rig.clock.advance(100);
    }
    assert.equal(rig.draining.length, 2);
    assert.equal(rig.draining[0], 'draining: 100 open connections');
  });

  it('looks in measured steps', async () => {
    const rig = await serving(1);
    await rig.assign(leaving());
    await rig.clock.advance(DRAIN_MS);
    const looks = rig.executor.calls.filter((c) => c === 'openConnections t1').length;
    assert.ok(looks > 20 && looks < 60, `${looks} looks`);
  });

  it('gives the whole time where connections cannot be counted', async () => {
    const rig = await serving(new HatobaError('unimplemented', 'no such kernel'));
    await rig.assign(leaving());
    await rig.clock.advance(DRAIN_MS - 1);
    assert.equal(isRunning(rig), true);
    await rig.clock.advance(1);
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
  });

  it('reports the end of a task that ends by itself meanwhile', async () => {
    const rig = await serving(2);
    await rig.assign(leaving());
    rig.executor.machine.exit('t1', 3);
    await rig.clock.advance(0);
    assert.equal(rig.status()?.err, 'task: non-zero exit (3)');
    assert.equal(rig.executor.calls.includes('shutdown t1'), false);
  });

  it('does not care for its health meanwhile', async () => {
    const rig = await serving(2);
    await rig.assign(leaving());
    rig.executor.machine.probe('t1', 'unhealthy');
    await rig.clock.advance(1000);
    assert.equal(isRunning(rig), true);
    assert.equal(rig.status()?.err, '');
  });

  it('ends when the managers take the task away', async () => {
    const rig = await serving(2);
    await rig.assign(leaving());
    await rig.unassign('t1');
    assert.equal(rig.executor.machine.containers.size, 0);
    assert.equal(rig.worker.task('t1'), undefined);
  });

  it('takes another time over, counted from the first order', async () => {
    const rig = await serving(2);
    await rig.assign(leaving());
    await rig.clock.advance(1000);
    await rig.assign(leaving({ drainMs: 2000 }));
    await rig.clock.advance(999);
    assert.equal(isRunning(rig), true);
    await rig.clock.advance(1);
    assert.equal(isRunning(rig), false);
    const other = await serving(2);
    await other.assign(leaving());
    await other.assign(leaving({ drainMs: 0 }));
    assert.equal(isRunning(other), false);
  });

  it('gives no time to what is unhealthy, has no network or is counted as dead', async () => {
    const unhealthy = await serving(2);
    unhealthy.executor.machine.probe('t1', 'unhealthy');
    await unhealthy.clock.advance(0);
    const alone = await serving(2);
    await alone.assign(leaving({ networksAttachments: [] }));
    const dead = await serving(2);
    await dead.assign(attached({ status: { state: TaskState.ORPHANED } }));
    for (const rig of [unhealthy, alone, dead]) assert.equal(isRunning(rig), false);
  });

  it('begins anew with the agent', async () => {
    const rig = await serving(2);
    await rig.assign(leaving());
    await rig.clock.advance(DRAIN_MS - 1);
    const next = await rig.restart();
    await next.clock.advance(DRAIN_MS - 1);
    assert.equal(isRunning(next), true);
    await next.clock.advance(1);
    assert.equal(next.status()?.state, TaskState.SHUTDOWN);
  });
});
