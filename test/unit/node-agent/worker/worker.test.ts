import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import { isTerminal, rankOf } from '../../../../common/model/task-state.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { assignedTask } from '../tasks.js';
import { Rig } from './worker-rig.js';

describe('Worker', () => {
  it('brings an assigned task to running, reporting each state', async () => {
    const rig = new Rig();
    await rig.assign(assignedTask());
    assert.deepEqual(rig.reports, [
      't1 ACCEPTED',
      't1 PREPARING',
      't1 READY',
      't1 STARTING',
      't1 RUNNING',
    ]);
    assert.equal(rig.status()?.containerStatus.pid, 1000);
    assert.equal(rig.status()?.runningAtMs, rig.clock.nowMs());
  });

  it('keeps a task wanted ready at ready until it is wanted running', async () => {
    const rig = new Rig();
    await rig.assign(assignedTask({ desiredState: TaskState.READY }));
    assert.equal(rig.status()?.state, TaskState.READY);
    await rig.assign(assignedTask());
    assert.equal(rig.status()?.state, TaskState.RUNNING);
  });

  it('does not take back a stop that it was told of', async () => {
    const rig = new Rig();
    await rig.assign(assignedTask());
    await rig.assign(assignedTask({ desiredState: TaskState.SHUTDOWN }));
    await rig.assign(assignedTask({ desiredState: TaskState.RUNNING }));
    assert.equal(rig.worker.task('t1')?.desiredState, TaskState.SHUTDOWN);
    await rig.assign(assignedTask({ desiredState: TaskState.REMOVE }));
    assert.equal(rig.worker.task('t1')?.desiredState, TaskState.REMOVE);
  });

  it('reports how a task ended, after it gave back what others may need', async () => {
    const rig = new Rig({ scripts: { t1: { exits: { afterMs: 100, code: 3 } } } });
    await rig.assign(assignedTask());
    await rig.clock.advance(100);
    assert.equal(rig.status()?.err, 'task: non-zero exit (3)');
    assert.equal(rig.reports.at(-1), 't1 FAILED');
    assert.equal(rig.executor.machine.sandboxes.has('t1'), false);
    assert.equal(rig.executor.machine.containers.has('t1'), true, 'its logs stay');
  });

  it('holds a health-checked task at starting until it is healthy', async () => {
    const rig = new Rig({ scripts: { t1: { health: { afterMs: 500, becomes: 'healthy' } } } });
    await rig.assign(assignedTask());
    assert.equal(rig.status()?.state, TaskState.STARTING);
    assert.equal(rig.status()?.containerStatus.pid, 1000);
    await rig.clock.advance(500);
    assert.equal(rig.status()?.state, TaskState.RUNNING);
  });

  it('stops a task that becomes unhealthy, and fails it with the probe output', async () => {
    const rig = new Rig();
    await rig.assign(assignedTask());
    rig.executor.machine.probe('t1', 'unhealthy', 'connection refused\n');
    await rig.clock.advance(0);
    assert.equal(rig.status()?.state, TaskState.FAILED);
    assert.equal(rig.status()?.err, 'unhealthy container: connection refused');
    assert.deepEqual(rig.executor.machine.running(), []);
  });

  it('leads nothing new to a task before it gives back its network, or stops it for its health', async () => {
    const rig = new Rig();
    await rig.assign(assignedTask(), assignedTask({ id: 't2' }));
    rig.executor.machine.exit('t1', 0);
    rig.executor.machine.probe('t2', 'unhealthy');
    await rig.clock.advance(0);
    const calls = (id: string): string[] =>
      rig.executor.calls.filter((c) => c.endsWith(id) && !c.startsWith('watch'));
    assert.deepEqual(calls('t1').slice(-2), ['withdraw t1', 'release t1']);
    assert.deepEqual(calls('t2').slice(-3), ['withdraw t2', 'shutdown t2', 'release t2']);
  });

  it('tries temporary errors again, then gives up with the last one word for word', async () => {
    const error = new HatobaError('unavailable', 'registry r does not answer');
    const rig = new Rig({
      scripts: { t1: { prepare: { error, times: 1 } }, t2: { prepare: { error } } },
    });
    await rig.assign(assignedTask(), assignedTask({ id: 't2' }));
    assert.match(rig.status()?.message ?? '', /trying again: registry r does not answer/);
    await rig.clock.advance(60_000);
    assert.equal(rig.status('t1')?.state, TaskState.RUNNING);
    assert.equal(rig.status('t2')?.state, TaskState.REJECTED);
    assert.equal(rig.status('t2')?.err, 'registry r does not answer');
  });

  it('goes on stopping for ever', async () => {
    const error = new HatobaError('internal', 'busy');
    const rig = new Rig({ scripts: { t1: { shutdown: { error, times: 20 } } } });
    await rig.assign(assignedTask());
    await rig.assign(assignedTask({ desiredState: TaskState.SHUTDOWN }));
    assert.equal(rig.status()?.state, TaskState.RUNNING);
    await rig.clock.advance(20 * 8000);
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
  });

  it('gives up a prepare that hangs as soon as the task is not wanted', async () => {
    const rig = new Rig({ scripts: { t1: { prepare: { hangs: true } } } });
    await rig.assign(assignedTask());
    assert.equal(rig.status()?.state, TaskState.PREPARING);
    await rig.assign(assignedTask({ desiredState: TaskState.REMOVE }));
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
  });

  it('lets no task wait for another', async () => {
    const rig = new Rig({
      scripts: { t1: { prepare: { hangs: true } }, t2: { shutdown: { hangs: true } } },
    });
    await rig.assign(assignedTask(), assignedTask({ id: 't2' }), assignedTask({ id: 't3' }));
    await rig.unassign('t2');
    assert.equal(rig.status('t3')?.state, TaskState.RUNNING);
  });

  it('waits for the networks of a task, saying so', async () => {
    const rig = new Rig();
    rig.networkWait = 'waiting for network "a"';
    await rig.assign(assignedTask());
    assert.equal(rig.status()?.message, 'waiting for network "a"');
    rig.networkWait = '';
    rig.worker.networksChanged();
    await rig.clock.advance(0);
    assert.equal(rig.status()?.state, TaskState.RUNNING);
  });

  it('stops and removes a task that is no longer assigned, without a word', async () => {
    const rig = new Rig();
    await rig.assign(assignedTask());
    const before = rig.reports.length;
    await rig.unassign('t1');
    assert.equal(rig.worker.task('t1'), undefined);
    assert.equal(rig.executor.machine.containers.size, 0);
    assert.equal(rig.db.files.size, 0);
    assert.equal(rig.reports.length, before);
  });

  it('keeps the end of a task that comes back while it is being removed', async () => {
    const rig = new Rig({ scripts: { t1: { remove: { takesMs: 50 } } } });
    await rig.assign(assignedTask());
    await rig.unassign('t1');
    await rig.assign(assignedTask());
    await rig.clock.advance(1000);
    assert.equal(rig.status()?.state, TaskState.SHUTDOWN);
    assert.equal(rig.executor.machine.containers.size, 0);
  });

  it('reports an end although giving back does not work', async () => {
    const error = new HatobaError('internal', 'busy');
    const rig = new Rig({ scripts: { t1: { release: { error } } } });
    await rig.assign(assignedTask());
    rig.executor.machine.exit('t1', 0);
    await rig.clock.advance(0);
    assert.equal(rig.reports.at(-1), 't1 COMPLETE');
  });

  it('keeps running tasks whose file cannot be written', async () => {
    const rig = new Rig();
    rig.db.put = () => Promise.reject(new Error('ENOSPC'));
    await rig.assign(assignedTask());
    assert.equal(rig.status()?.state, TaskState.RUNNING);
  });

  describe('after a crash', () => {
    it('finds running tasks again: same process, none started', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask(), assignedTask({ id: 't2' }));
      const next = await rig.restart();
      assert.equal(next.status()?.state, TaskState.RUNNING);
      assert.equal(next.status()?.containerStatus.pid, 1000);
      assert.deepEqual(next.executor.calls, ['watch t1', 'watch t2']);
      next.executor.machine.exit('t2', 1);
      await next.clock.advance(0);
      assert.equal(next.status('t2')?.state, TaskState.FAILED);
    });

    it('sees what ended meanwhile', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask());
      await rig.worker[Symbol.asyncDispose]();
      rig.executor.machine.exit('t1', 0);
      const next = await rig.restart();
      assert.equal(next.status()?.state, TaskState.COMPLETE);
    });

    it('finds a started task of which only the acceptance is on disk', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask());
      assert.deepEqual(rig.db.puts, [TaskState.ACCEPTED, TaskState.RUNNING]);
      const { pid } = rig.status()?.containerStatus ?? {};
      const task = rig.worker.task('t1');
      assert.ok(task);
      const accepted = { ...task.status, state: TaskState.ACCEPTED, runningAtMs: 0 };
      const containerStatus = { containerId: '', pid: 0, oomKilled: false };
      await rig.db.put({ ...task, status: { ...accepted, containerStatus } });
      const next = await rig.restart();
      assert.equal(next.status()?.state, TaskState.RUNNING);
      assert.equal(next.status()?.containerStatus.pid, pid);
    });

    it('knows what was wanted last of a task that was not yet running', async () => {
      const hangs = { start: { hangs: true } };
      const rig = new Rig({ scripts: { t1: hangs } });
      await rig.assign(assignedTask({ desiredState: TaskState.READY }));
      await rig.assign(assignedTask());
      assert.equal(rig.status()?.state, TaskState.STARTING);
      const next = await rig.restart();
      assert.equal(next.status()?.state, TaskState.RUNNING, 'without a word of the managers');
    });

    it('goes on with what was being prepared', async () => {
      const rig = new Rig({ scripts: { t1: { prepare: { hangs: true } } } });
      await rig.assign(assignedTask());
      const next = await rig.restart();
      assert.equal(next.status()?.state, TaskState.RUNNING);
    });

    it('fails a task whose container is gone', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask());
      rig.executor.machine.containers.clear();
      const next = await rig.restart();
      assert.equal(next.status()?.state, TaskState.FAILED);
      assert.match(next.status()?.err ?? '', /container is gone/);
    });

    it('believes its own status, not an older one of the managers', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask());
      const next = await rig.restart();
      await next.assign(assignedTask({ status: { state: TaskState.PREPARING } }));
      assert.equal(next.status()?.state, TaskState.RUNNING);
    });

    it('takes up a running container whose file was lost', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask());
      const { status } = rig.worker.task('t1') ?? assignedTask();
      rig.db.files.clear();
      const next = await rig.restart();
      await next.assign(assignedTask({ status }));
      assert.equal(next.status()?.containerStatus.pid, 1000);
      assert.deepEqual(next.executor.machine.running(), ['t1']);
    });

    it('removes what no task explains, and nothing else', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask(), assignedTask({ id: 't2' }));
      rig.db.files.delete('t2');
      const next = await rig.restart();
      assert.deepEqual(next.executor.machine.running(), ['t1', 't2'], 'not before it knows');
      await next.worker.sweep();
      assert.deepEqual(next.executor.machine.running(), ['t1']);
    });

    it('holds nothing for a task that ended, and runs no container of it', async () => {
      const rig = new Rig();
      await rig.assign(assignedTask());
      rig.db.files.clear();
      const next = await rig.restart();
      await next.assign(assignedTask({ status: { state: TaskState.ORPHANED } }));
      assert.deepEqual(next.executor.machine.running(), []);
      assert.equal(next.worker.statuses().size, 0, 'orphaned is for managers to say');
    });
  });

  it('closes without touching what runs', async () => {
    const rig = new Rig();
    await rig.assign(assignedTask());
    await rig.worker[Symbol.asyncDispose]();
    await rig.assign(assignedTask({ id: 't2' }));
    assert.deepEqual(rig.executor.machine.running(), ['t1']);
    assert.equal(rig.clock.pendingTimers, 0);
  });

  it('converges on any sequence of wishes, crashes and exits', async () => {
    const event = fc.oneof(
      fc
        .constantFrom(TaskState.READY, TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE)
        .map((desired) => ({ type: 'wish' as const, desired })),
      fc
        .constantFrom('crash', 'exit', 'unassign', 'time')
        .map((type) => ({ type, desired: TaskState.RUNNING })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 12 }), async (events) => {
        let rig = new Rig();
        let known = 0;
        await rig.assign(assignedTask());
        for (const event of events) {
          rig = await play(rig, event);
          const rank = rankOf(rig.status()?.state ?? TaskState.NEW);
          assert.ok(rank >= known || rig.status() === undefined);
          known = rank;
        }
        assertAtRest(rig);
      }),
      { numRuns: 100 },
    );
  });
});

interface Event {
  readonly type: string;
  readonly desired: TaskState;
}

/** @returns the rig that goes on: another one after a crash */
async function play(rig: Rig, { type, desired }: Event): Promise<Rig> {
  const next = type === 'crash' ? await rig.restart() : rig;
  if (type === 'wish') await next.assign(assignedTask({ desiredState: desired }));
  if (type === 'unassign') await next.unassign('t1');
  if (type === 'time') await next.clock.advance(1000);
  if (type === 'exit') {
    for (const id of next.executor.machine.running()) next.executor.machine.exit(id, 1);
  }
  await next.clock.advance(0);
  return next;
}

/** What runs on the machine is what the status says. */
function assertAtRest(rig: Rig): void {
  assert.deepEqual(rig.fatal, []);
  const { containers } = rig.executor.machine;
  const state = rig.status()?.state;
  const running = rig.executor.machine.running().length;
  if (state === undefined) assert.equal(containers.size, 0);
  else assert.equal(running, state === TaskState.RUNNING ? 1 : 0);
  if (state !== undefined && isTerminal(state))
    assert.equal(rig.executor.machine.sandboxes.size, 0);
}
