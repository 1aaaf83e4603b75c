import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import type { Service, Task } from '../../../../common/model/objects.js';
import { Ledger } from '../../../../manager/controllers/ledger.js';
import { planService } from '../../../../manager/core/orchestrator/plan-service.js';
import { planNewTasks, type NewTasksPlan } from '../../../../manager/core/plan-new-tasks.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aNetwork, aNode, aService, snapshotOf, T0 } from '../../../support/builders.js';
import { FakeClock } from '../../../support/fake-clock.js';

const NETWORK = aNetwork({
  vni: 5000,
  ipam: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1', ipRange: '' }],
});

function serviceOf(name: string, replicas: number): Service {
  return aService({
    spec: {
      name,
      mode: { $case: 'replicated', value: { replicas } },
      taskTemplate: {
        networks: [{ target: NETWORK.id }],
        resources: { reservations: { nanoCpus: 1e9 } },
      },
    },
  });
}

/** A node with room for four tasks, and two services of three each. */
class Desk {
  readonly clock = new FakeClock();
  readonly view = snapshotOf({
    networks: [NETWORK],
    nodes: [aNode()],
    services: [serviceOf('a', 3), serviceOf('b', 3)],
  });
  readonly ledger = new Ledger(this.view);
  #ids = 0;

  plan(name: string): NewTasksPlan {
    const context = { nowMs: T0, newId: () => `t${++this.#ids}` };
    const wanted = planService(this.view, `id-${name}`, context);
    return planNewTasks(wanted, this.view, this.ledger, T0);
  }

  used(): number | undefined {
    return this.ledger.allocation.addresses.of(NETWORK.id)?.usage().used;
  }

  freeCpus(): number {
    return (this.ledger.scheduler.nodes.get('n1')?.free.nanoCpus ?? 0) / 1e9;
  }
}

function tasksOf({ plan }: NewTasksPlan): Task[] {
  return plan.groups.flat().flatMap((c) => (c.kind === 'task' ? [c.object] : []));
}

function addressesOf(tasks: readonly Task[]): string[] {
  return tasks.flatMap((t) => t.networksAttachments.flatMap((a) => a.addresses));
}

describe('the ledger of a leader', () => {
  const never = new AbortController().signal;
  const conflict = new HatobaError('conflict', 'outdated');

  it('gives nothing twice to plans that are written at the same time', () => {
    const desk = new Desk();
    const tasks = [...tasksOf(desk.plan('a')), ...tasksOf(desk.plan('b'))];
    const states = tasks.map((t) => t.status.state);
    assert.equal(new Set(addressesOf(tasks)).size, 6);
    assert.deepEqual(
      states,
      [4, 2].flatMap((count, i) =>
        Array<TaskState>(count).fill(i === 0 ? TaskState.ASSIGNED : TaskState.PENDING),
      ),
    );
    assert.deepEqual([desk.used(), desk.freeCpus()], [9, 0]); // with gateway and two services
  });

  it('takes back what met a conflict, and tells who waits for it', async () => {
    const desk = new Desk();
    let told = 0;
    desk.ledger.onTakenBack(() => told++);
    const given = desk.plan('a');
    assert.deepEqual([desk.used(), desk.freeCpus()], [5, 1]);
    const write = (): Promise<void> => Promise.reject(conflict);
    await assert.rejects(desk.ledger.writing(given, write, never), conflict);
    assert.deepEqual([desk.used(), desk.freeCpus(), told], [1, 4, 1]);
    assert.equal(tasksOf(desk.plan('a')).length, 3); // as if nothing had been planned
  });

  it('keeps what may have been written although the term is over', async () => {
    const desk = new Desk();
    const given = desk.plan('a');
    const term = new AbortController();
    const write = (): Promise<void> => {
      term.abort();
      return Promise.reject(new HatobaError('unavailable', 'no answer'));
    };
    await assert.rejects(desk.ledger.writing(given, write, term.signal), /no answer/);
    assert.deepEqual([desk.used(), desk.freeCpus()], [5, 1]);
  });

  it('begins anew from time to time, but not while anything is being written', async () => {
    const desk = new Desk();
    const stop = desk.ledger.start(desk.clock);
    let end = (): void => undefined;
    const write = (): Promise<void> => new Promise((resolve) => (end = resolve));
    const writing = desk.ledger.writing(desk.plan('a'), write, never);
    await desk.clock.advance(300_000);
    assert.deepEqual([desk.used(), desk.freeCpus()], [5, 1]);
    end();
    await writing;
    await desk.clock.advance(300_000);
    assert.deepEqual([desk.used(), desk.freeCpus()], [1, 4]); // nothing of it is stored
    stop();
  });

  it('holds what the view shows', () => {
    const desk = new Desk();
    const stop = desk.ledger.start(desk.clock);
    const [task] = tasksOf(desk.plan('b'));
    assert.ok(task);
    const stored = { ...task, version: 2 };
    const key = '/hatoba/v1/task/x';
    desk.view.apply(2, [{ type: 'put', key, kind: 'task', object: stored }]);
    assert.deepEqual([desk.used(), desk.freeCpus()], [5, 1]);
    const failed = { ...stored, status: { ...stored.status, state: TaskState.FAILED } };
    desk.view.apply(3, [{ type: 'put', key, kind: 'task', object: { ...failed, version: 3 } }]);
    assert.deepEqual([desk.used(), desk.freeCpus()], [4, 2]);
    desk.view.apply(4, [{ type: 'delete', key }]);
    assert.deepEqual([desk.used(), desk.freeCpus()], [4, 2]);
    stop();
  });
});
