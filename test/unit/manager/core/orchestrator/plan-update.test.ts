import assert from 'node:assert/strict';
import type { Service, Task } from '../../../../../common/model/objects.js';
import {
  NodeAvailability,
  NodeState,
  RestartCondition,
  TaskState,
  UpdateFailureAction,
  UpdateOrder,
  UpdateState,
  UpdateStatus,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, T0, type Some } from '../../../../support/builders.js';
import { created, NOW, plan, reasons, running, summary, web } from './planning.js';

describe('rolling updates', () => {
  const updating = (some: Some<Service> = {}): Service =>
    web(4, {
      specVersion: 2,
      updateStatus: { state: UpdateState.UPDATING, startedAtMs: T0 },
      ...some,
      spec: {
        updateConfig: { parallelism: 2, monitorMs: 5000, delayMs: 3000 },
        taskTemplate: { containerSpec: { image: 'web:2' } },
        ...some.spec,
      },
    });
  const old = (slot: number, some: Some<TaskMessage> = {}): Task => running(slot, some);
  const fresh = (slot: number, status: Some<Task['status']>): Task =>
    aTask({
      slot,
      generation: 2,
      nodeId: 'n1',
      specVersion: 2,
      spec: { containerSpec: { image: 'web:2' } },
      createdAtMs: NOW,
      updatedAtMs: NOW,
      status,
    });
  const done = (slot: number): Task =>
    old(slot, { desiredState: TaskState.SHUTDOWN, status: { state: TaskState.SHUTDOWN } });
  const ran = (slot: number, forMs: number): Task[] => [
    done(slot),
    fresh(slot, { state: TaskState.RUNNING, runningAtMs: NOW - forMs }),
  ];

  it('begins with the status alone, then as many slots as it may, idle ones first', () => {
    const tasks = [old(1), old(2), old(3, { status: { state: TaskState.STARTING } }), old(4)];
    const begun = plan(updating({ updateStatus: undefined }), tasks);
    assert.deepEqual(summary(begun), ['update service']);
    assert.equal(begun.requeueAfterMs, 0);
    assert.deepEqual(summary(plan(updating(), tasks)), [
      'update t-web-1-1 SHUTDOWN',
      'create 1.2 READY',
      'update t-web-3-1 SHUTDOWN',
      'create 3.2 READY',
    ]);
  });

  it('takes the next slot only when a new task runs and its delay is over', () => {
    const busy = [done(1), fresh(1, { state: TaskState.STARTING })];
    const inDelay = plan(updating(), [...busy, ...ran(2, 2000), old(3), old(4)]);
    assert.deepEqual(inDelay, { groups: [], requeueAfterMs: 1000 });
    assert.deepEqual(summary(plan(updating(), [...busy, ...ran(2, 3000), old(3), old(4)])), [
      'update t-web-3-1 SHUTDOWN',
      'create 3.2 READY',
    ]);
  });

  it('is complete when the last monitor period is over', () => {
    const all = (forMs: number): Task[] => [1, 2, 3, 4].flatMap((slot) => ran(slot, forMs));
    assert.deepEqual(plan(updating(), all(4000)), { groups: [], requeueAfterMs: 1000 });
    const [change] = plan(updating(), all(5000)).groups.flat();
    assert.ok(change?.kind === 'service');
    assert.equal(change.object.updateStatus?.state, UpdateState.COMPLETED);
    assert.equal(change.object.updateStatus.completedAtMs, NOW);
    assert.equal(change.object.updateStatus.startedAtMs, T0);
  });

  it('judges by the ratio of failed slots', () => {
    const failed = [done(1), fresh(1, { state: TaskState.FAILED, err: 'no such file' })];
    const tasks = [...failed, old(2), old(3), old(4)];
    const stateWith = (maxFailureRatio: number): unknown => {
      const updateConfig = { parallelism: 1, monitorMs: 5000, maxFailureRatio };
      const [change] = plan(updating({ spec: { updateConfig } }), tasks).groups.flat();
      return change?.kind === 'service' ? change.object.updateStatus?.state : change?.kind;
    };
    assert.equal(stateWith(0.2), UpdateState.PAUSED);
    assert.equal(stateWith(0.25), 'task');
  });

  it('counts an end within the monitor period as failure, a later one not', () => {
    const endedAfter = (ms: number): unknown => {
      const status = { state: TaskState.COMPLETE, runningAtMs: NOW - ms, timestampMs: NOW };
      const [change] = plan(updating(), [
        done(1),
        fresh(1, status),
        old(2),
        old(3),
        old(4),
      ]).groups.flat();
      return change?.kind === 'service' ? change.object.updateStatus?.message : change?.kind;
    };
    assert.match(
      String(endedAfter(4999)),
      /^update paused due to failure or early termination of task web\.1\.t-web-1-2: complete within the monitor period of 5s$/,
    );
    assert.equal(endedAfter(5000), 'task');
  });

  it('is not held up by tasks that ran long enough and ended, as they always do', () => {
    const again = (slot: number): Task[] =>
      [
        done(slot),
        fresh(slot, { state: TaskState.COMPLETE, runningAtMs: NOW - 6000, timestampMs: NOW - 900 }),
        { ...fresh(slot, { state: TaskState.STARTING }), id: `again-${slot}`, generation: 3 },
      ].map((t, i) => (i === 1 ? { ...t, desiredState: TaskState.SHUTDOWN } : t));
    const [change] = plan(updating(), [1, 2, 3, 4].flatMap(again)).groups.flat();
    assert.ok(change?.kind === 'service');
    assert.equal(change.object.updateStatus?.state, UpdateState.COMPLETED);
  });

  it('does not count failures of tasks that came after one which ran long enough', () => {
    const flapping = [
      done(1),
      {
        ...fresh(1, { state: TaskState.FAILED, runningAtMs: NOW - 9000, timestampMs: NOW - 3000 }),
        desiredState: TaskState.SHUTDOWN,
      },
      {
        ...fresh(1, { state: TaskState.FAILED, runningAtMs: NOW - 2000, timestampMs: NOW - 1000 }),
        ...{ id: 'again', generation: 3 },
      },
    ];
    const [change] = plan(updating(), [...flapping, old(2), old(3), old(4)]).groups.flat();
    assert.equal(change?.kind, 'task');
  });

  it('gives a task its time from when it may start', () => {
    const delayed = (startAfterMs: number): Task => ({
      ...fresh(1, { state: TaskState.READY }),
      ...{ createdAtMs: NOW - 11 * 60_000, desiredState: TaskState.READY, startAfterMs },
    });
    const changes = (startAfterMs: number): string[] =>
      plan(updating(), [done(1), delayed(startAfterMs), old(2), old(3), old(4)])
        .groups.flat()
        .map((c) => c.kind);
    assert.ok(!changes(NOW + 60_000).includes('service'));
    assert.deepEqual(changes(NOW - 10 * 60_000), ['service']);
  });

  it('changes nothing while it is paused', () => {
    const paused = updating({ updateStatus: { state: UpdateState.PAUSED } });
    assert.deepEqual(plan(paused, [old(1), old(2), old(3), old(4)]).groups, []);
  });

  it('replaces the old task when both of a slot are lost during a paused update', () => {
    const paused = web(1, {
      ...updating({ updateStatus: { state: UpdateState.PAUSED } }),
      spec: updating().spec,
    });
    const nodes = [aNode({ status: { state: NodeState.DOWN } })];
    const both = [old(1), fresh(1, { state: TaskState.STARTING })];
    const made = plan(paused, both, nodes);
    assert.deepEqual(summary(made), ['update t-web-1-2 SHUTDOWN', 'create 1.3 RUNNING']);
    assert.equal(created(made)[0]?.spec.containerSpec.image, 'web:1');
  });

  it('spares tasks that only a change of placement concerns, where they still fit', () => {
    const placement = { constraints: ['node.labels.zone==a'] };
    const service = updating({
      spec: { taskTemplate: { placement } },
      updateStatus: undefined,
    });
    const nodes = [aNode({ spec: { labels: { zone: 'a' } } }), aNode({ id: 'n2' })];
    const tasks = [1, 2, 3, 4].map((slot) => old(slot));
    assert.deepEqual(plan(service, tasks, nodes).groups, []);
    const misplaced = [...tasks.slice(0, 3), old(4, { nodeId: 'n2' })];
    assert.deepEqual(summary(plan(service, misplaced, nodes)), ['update service']);
  });
});

describe('a slot with an outdated task and its successor', () => {
  const service = web(1, {
    specVersion: 2,
    spec: {
      taskTemplate: { containerSpec: { image: 'web:2' } },
      updateConfig: { monitorMs: 5000 },
    },
    updateStatus: { state: UpdateState.UPDATING, startedAtMs: T0 },
  });
  const old = running(1, { specVersion: 1, spec: { containerSpec: { image: 'web:1' } } });
  const next = (forMs: number): Task =>
    running(1, {
      ...{ generation: 2, specVersion: 2, updatedAtMs: NOW - forMs },
      spec: { containerSpec: { image: 'web:2' } },
      status: { runningAtMs: NOW - forMs },
    });

  it('keeps both until the new one has run for half a second', () => {
    const early = plan(service, [old, next(200)]);
    assert.deepEqual([summary(early), early.requeueAfterMs], [[], 300]);
    assert.deepEqual(summary(plan(service, [old, next(500)])), ['update t-web-1-1 SHUTDOWN']);
  });
});

describe('an update whose task does not come up', () => {
  const DEADLINE_MS = 10 * 60_000;
  const MESSAGE = 'no suitable node: 1 of 1 node has max 1 replicas per node';
  const updating = (
    updateConfig: Some<Service['spec']['updateConfig']>,
    resumedAtMs = 0,
  ): Service =>
    web(2, {
      specVersion: 2,
      updateStatus: {
        state: UpdateState.UPDATING,
        message: 'update in progress',
        startedAtMs: T0,
        resumedAtMs,
      },
      spec: {
        taskTemplate: { containerSpec: { image: 'web:2' } },
        updateConfig: { parallelism: 1, monitorMs: 5000, ...updateConfig },
      },
    });
  /** Made so long ago, and without a node since. */
  const waiting = (forMs: number): Task =>
    aTask({
      ...{ slot: 1, generation: 2, specVersion: 2, createdAtMs: NOW - forMs },
      spec: { containerSpec: { image: 'web:2' } },
      status: { state: TaskState.PENDING, message: MESSAGE },
    });
  const { START_FIRST, STOP_FIRST } = UpdateOrder;
  const { NONE } = RestartCondition;
  const ended = running(1, {
    desiredState: TaskState.SHUTDOWN,
    status: { state: TaskState.SHUTDOWN },
  });

  /** The first task is on its way since `forMs`, the second one is still the old one. */
  const statusAfter = (forMs: number, service: Service): UpdateStatus | undefined => {
    const old = service.spec.updateConfig.order === START_FIRST ? running(1) : ended;
    const [change] = plan(service, [old, waiting(forMs), running(2)]).groups.flat();
    return change?.kind === 'service' ? change.object.updateStatus : undefined;
  };
  const paused = `update paused as task web.1.t-web-1-2 did not come up in`;

  const cases: readonly [string, number, Service, string | undefined][] = [
    ['has ten minutes', DEADLINE_MS, updating({}), `${paused} 10m: ${MESSAGE}`],
    ['or another time', 3000, updating({ progressDeadlineMs: 3000 }), `${paused} 3s: ${MESSAGE}`],
    [
      'counted from when the update was resumed',
      DEADLINE_MS,
      updating({}, NOW - DEADLINE_MS + 1),
      `update in progress: web.1 waits: ${MESSAGE}`,
    ],
    [
      'or all the time in the world',
      DEADLINE_MS * 100,
      updating({ progressDeadlineMs: 0 }),
      `update in progress: web.1 waits: ${MESSAGE}`,
    ],
    [
      'and says first what it waits for',
      1000,
      updating({}),
      `update in progress: web.1 waits: ${MESSAGE}`,
    ],
    ['but not at once', 999, updating({}), undefined],
    [
      'and names the place it needs where the old one stays meanwhile',
      1000,
      updating({ order: START_FIRST }),
      `update in progress: start-first needs a second place for web.1: ${MESSAGE}; make room for it, or use order stop-first`,
    ],
  ];
  for (const [name, forMs, service, expected] of cases) {
    it(name, () => {
      assert.equal(statusAfter(forMs, service)?.message, expected);
    });
  }

  it('looks again when the time is over', () => {
    const made = plan(updating({ order: STOP_FIRST }), [ended, waiting(500), running(2)]);
    assert.deepEqual(made, { groups: [], requeueAfterMs: 500 });
  });

  it('says no more that it waits when it does not', () => {
    const service = updating({});
    const status = { ...service.updateStatus, message: 'update in progress: web.1 waits: x' };
    const starting = { ...waiting(5000), nodeId: 'n1' };
    const tasks = [
      ended,
      { ...starting, status: { ...starting.status, state: TaskState.STARTING } },
      running(2),
    ];
    const told = { ...service, updateStatus: UpdateStatus.fromPartial(status) };
    const [change] = plan(told, tasks).groups.flat();
    assert.ok(change?.kind === 'service');
    assert.equal(change.object.updateStatus?.message, 'update in progress');
    const resumed = { ...told.updateStatus, message: 'update in progress, resumed by request' };
    assert.deepEqual(plan({ ...told, updateStatus: resumed }, tasks).groups, []);
  });

  it('goes on past it where failures stop nothing', () => {
    const service = updating({ failureAction: UpdateFailureAction.CONTINUE });
    assert.deepEqual(summary(plan(service, [ended, waiting(DEADLINE_MS), running(2)])), [
      'update t-web-2-1 SHUTDOWN',
      'create 2.2 READY',
    ]);
  });

  it('waits no longer for tasks that are equal to what it makes and older than it', () => {
    const equal = (forMs: number): Task => ({
      ...waiting(forMs),
      ...{ specVersion: 1, nodeId: 'n1' },
      status: { ...waiting(0).status, state: TaskState.STARTING },
    });
    const service = { ...updating({}), specVersion: 3 };
    const old = running(2, { specVersion: 2 });
    const after = (forMs: number): string[] => summary(plan(service, [equal(forMs), old]));
    assert.deepEqual(after(DEADLINE_MS - 1), []);
    assert.deepEqual(after(DEADLINE_MS), ['update t-web-2-1 SHUTDOWN', 'create 2.2 READY']);
  });

  it('does not wait for one that had come up on a node that is lost since', () => {
    const ran = { ...waiting(5000), nodeId: 'n2' };
    const lost = {
      ...ran,
      spec: { ...ran.spec, restartPolicy: { ...ran.spec.restartPolicy, condition: NONE } },
      status: { ...ran.status, state: TaskState.RUNNING, runningAtMs: NOW - 4000 },
    };
    const nodes = [aNode(), aNode({ id: 'n2', status: { state: NodeState.DOWN } })];
    const [first] = plan(updating({}), [ended, lost, running(2)], nodes).groups.flat();
    assert.ok(first?.kind === 'task');
    assert.equal(first.object.slot, 2);
  });

  it('goes back by the rules of the rollback, and says why', () => {
    const service = updating({ failureAction: UpdateFailureAction.ROLLBACK });
    const previousSpec = { ...service.spec, taskTemplate: web(2).spec.taskTemplate };
    const status = statusAfter(DEADLINE_MS, { ...service, previousSpec });
    assert.equal(status?.state, UpdateState.ROLLBACK_STARTED);
    assert.match(
      status.message,
      /^update rolled back as task web\.1\.\S+ did not come up in 10m: no/,
    );
  });

  it('is forgiven what failed before it was resumed, and tries again', () => {
    const failed = {
      ...waiting(5000),
      ...{ nodeId: 'n1', desiredState: TaskState.SHUTDOWN, desiredSinceMs: NOW - 1000 },
      status: { ...waiting(0).status, state: TaskState.REJECTED },
    };
    const resumedAt = (atMs: number): string[] =>
      summary(plan(updating({ order: START_FIRST }, atMs), [running(1), failed, running(2)]));
    assert.deepEqual(resumedAt(NOW - 1000), ['create 1.3 RUNNING']);
    assert.deepEqual(resumedAt(NOW - 1001), ['update service']);
  });
});

describe('an update while tasks have to leave their nodes', () => {
  const service = web(3, {
    specVersion: 2,
    updateStatus: { state: UpdateState.UPDATING, message: 'update in progress' },
    spec: {
      taskTemplate: { containerSpec: { image: 'web:2' } },
      updateConfig: { parallelism: 1, monitorMs: 5000, order: UpdateOrder.START_FIRST },
    },
  });
  const nodes = [aNode(), aNode({ id: 'n2', spec: { availability: NodeAvailability.DRAIN } })];

  it('comes to those first', () => {
    const tasks = [running(1), running(2, { nodeId: 'n2' }), running(3)];
    const made = plan(service, tasks, nodes);
    assert.deepEqual(summary(made), ['create 2.2 RUNNING']);
    assert.deepEqual(reasons(made), ['2.2: update to revision 2']);
  });

  it('never has three tasks in one place', () => {
    const moved = running(1, { generation: 2, status: { state: TaskState.STARTING } });
    const tasks = [running(1, { nodeId: 'n2' }), moved];
    const made = plan(
      { ...service, spec: { ...service.spec, mode: web(1).spec.mode } },
      tasks,
      nodes,
    );
    assert.deepEqual(summary(made), ['update t-web-1-2 SHUTDOWN', 'create 1.3 READY']);
  });
});
