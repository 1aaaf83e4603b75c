import assert from 'node:assert/strict';
import type { Node, Service, Task } from '../../../../../common/model/objects.js';
import { planReplicated } from '../../../../../manager/core/orchestrator/plan-replicated.js';
import type { Plan } from '../../../../../manager/core/snapshot.js';
import {
  NodeAvailability,
  NodeState,
  RestartCondition,
  TaskState,
  UpdateState,
  type RestartPolicy,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, aTask, snapshotOf, T0, type Some } from '../../../../support/builders.js';

const NOW = T0 + 60_000;

function plan(service: Service, tasks: readonly Task[], nodes: readonly Node[] = [aNode()]): Plan {
  let ids = 0;
  const snapshot = snapshotOf({ services: [service], tasks, nodes });
  return planReplicated(snapshot, service.id, { nowMs: NOW, newId: () => `new${++ids}` });
}

function web(replicas: number, some: Some<Service> = {}): Service {
  return aService({
    ...some,
    spec: { ...some.spec, mode: { $case: 'replicated', value: { replicas } } },
  });
}

function running(slot: number, some: Some<TaskMessage> = {}): Task {
  const status = { state: TaskState.RUNNING, runningAtMs: T0, ...some.status };
  return aTask({ slot, nodeId: 'n1', ...some, status });
}

/** "update t-web-1-1 SHUTDOWN", "create 1.2 READY +5000" */
function summary({ groups }: Plan): string[] {
  return groups.flat().map(({ action, kind, object }) => {
    if (kind !== 'task') return `${action} ${kind}`;
    const desired = object.desiredState.replace('TASK_STATE_', '');
    if (action === 'update') return `update ${object.id} ${desired}`;
    const delay = object.startAfterMs === 0 ? '' : ` +${object.startAfterMs - NOW}`;
    return `${action} ${object.slot}.${object.generation} ${desired}${delay}`;
  });
}

describe('replicated services', () => {
  it('fills missing slots, the lowest numbers first, guarded by the service', () => {
    const service = web(4);
    const made = plan(service, [running(2)]);
    assert.deepEqual(summary(made), [
      'create 1.1 RUNNING',
      'create 3.1 RUNNING',
      'create 4.1 RUNNING',
    ]);
    assert.deepEqual(made.guards, [{ kind: 'service', object: service }]);
  });

  it('gives up idle slots first, then those of the fullest node, and all of their tasks', () => {
    const nodes = [aNode({ id: 'n1' }), aNode({ id: 'n2' })];
    const tasks = [
      running(1, { status: { state: TaskState.STARTING } }),
      running(2),
      running(3),
      running(4, { nodeId: 'n2' }),
    ];
    assert.deepEqual(summary(plan(web(3), tasks, nodes)), ['update t-web-1-1 REMOVE']);
    assert.deepEqual(summary(plan(web(2), tasks, nodes)), [
      'update t-web-1-1 REMOVE',
      'update t-web-3-1 REMOVE',
    ]);
    const dead = running(3, {
      desiredState: TaskState.SHUTDOWN,
      status: { state: TaskState.FAILED },
    });
    const next = running(3, { generation: 2 });
    assert.deepEqual(summary(plan(web(1), [running(1), dead, next])), [
      'update t-web-3-1 REMOVE',
      'update t-web-3-2 REMOVE',
    ]);
  });

  it('waits for the task that leaves before it uses the slot again', () => {
    const leaving = running(1, { desiredState: TaskState.REMOVE });
    assert.deepEqual(summary(plan(web(1), [leaving])), ['create 1.2 READY']);
    const waiting = aTask({ generation: 2, desiredState: TaskState.READY });
    assert.deepEqual(summary(plan(web(1), [leaving, waiting])), []);
    const gone = { ...leaving, status: { ...leaving.status, state: TaskState.SHUTDOWN } };
    assert.deepEqual(summary(plan(web(1), [gone, waiting])), ['update t-web-1-2 RUNNING']);
  });

  it('removes everything of a removed service', () => {
    const service = web(2, { pendingDelete: true });
    assert.deepEqual(summary(plan(service, [running(1), running(2)])), [
      'update t-web-1-1 REMOVE',
      'update t-web-2-1 REMOVE',
    ]);
  });

  it('has nothing to do for what it does not know', () => {
    assert.deepEqual(plan(web(1), [running(1)]).groups, []);
    const global = aService({ spec: { mode: { $case: 'global', value: {} } } });
    assert.deepEqual(plan(global, []).groups, []);
  });
});

describe('restarts', () => {
  const ended = (state: TaskState, policy: Some<RestartPolicy> = {}): Task =>
    running(1, { spec: { restartPolicy: policy }, status: { state, timestampMs: NOW } });
  const withPolicy = (policy: Some<RestartPolicy>): Service =>
    web(1, { spec: { taskTemplate: { restartPolicy: policy } } });

  const { ANY, NONE, ON_FAILURE } = RestartCondition;
  const cases: readonly [string, Some<RestartPolicy>, TaskState, string[]][] = [
    ['any restarts a failure', { condition: ANY }, TaskState.FAILED, ['create 1.2 READY +5000']],
    ['any restarts a success', { condition: ANY }, TaskState.COMPLETE, ['create 1.2 READY +5000']],
    ['the delay is the one named', { delayMs: 200 }, TaskState.FAILED, ['create 1.2 READY +200']],
    ['without delay at once', { delayMs: 0 }, TaskState.REJECTED, ['create 1.2 RUNNING']],
    ['on-failure', { condition: ON_FAILURE }, TaskState.FAILED, ['create 1.2 READY +5000']],
    ['on-failure lets a success be', { condition: ON_FAILURE }, TaskState.COMPLETE, []],
    ['none lets a failure be', { condition: NONE }, TaskState.FAILED, []],
  ];
  for (const [name, policy, state, created] of cases) {
    it(name, () => {
      const made = plan(withPolicy(policy), [ended(state, policy)]);
      assert.deepEqual(summary(made), ['update t-web-1-1 SHUTDOWN', ...created]);
      assert.ok(made.groups.length === 1, 'a task is replaced in one step');
    });
  }

  it('lets the replacement run when its delay is over, and says when to look', () => {
    const old = { ...ended(TaskState.FAILED), desiredState: TaskState.SHUTDOWN };
    const waiting = (startAfterMs: number): Task =>
      aTask({ generation: 2, desiredState: TaskState.READY, startAfterMs, replacesTaskId: old.id });
    const early = plan(web(1), [old, waiting(NOW + 700)]);
    assert.deepEqual(early, { groups: [], requeueAfterMs: 700 });
    assert.deepEqual(summary(plan(web(1), [old, waiting(NOW)])), ['update t-web-1-2 RUNNING']);
  });

  it('counts attempts in the slot, within the window and the delays', () => {
    const policy = { maxAttempts: 2, windowMs: 10_000, delayMs: 5000 };
    const chain = (ages: readonly number[]): Task[] =>
      ages.map((ageMs, i) =>
        running(1, {
          generation: i + 1,
          createdAtMs: NOW - ageMs,
          spec: { restartPolicy: policy },
          desiredState: i + 1 < ages.length ? TaskState.SHUTDOWN : TaskState.RUNNING,
          replacesTaskId: i === 0 ? '' : `t-web-1-${i}`,
          status: { state: TaskState.FAILED, timestampMs: NOW },
        }),
      );
    const shutsDown = (ages: readonly number[]): string[] =>
      summary(plan(withPolicy(policy), chain(ages)));
    assert.deepEqual(shutsDown([12_000, 6000]), [
      'update t-web-1-2 SHUTDOWN',
      'create 1.3 READY +5000',
    ]);
    assert.deepEqual(shutsDown([18_000, 12_000, 6000]), ['update t-web-1-3 SHUTDOWN']);
    assert.deepEqual(shutsDown([90_000, 80_000, 6000]), [
      'update t-web-1-3 SHUTDOWN',
      'create 1.4 READY +5000',
    ]);
  });

  const elsewhere: readonly [string, Node[], string[]][] = [
    ['down', [aNode({ status: { state: NodeState.DOWN } })], ['create 1.2 RUNNING']],
    ['gone', [], ['create 1.2 RUNNING']],
    ['drained', [aNode({ spec: { availability: NodeAvailability.DRAIN } })], ['create 1.2 READY']],
    ['paused', [aNode({ spec: { availability: NodeAvailability.PAUSE } })], []],
    ['disconnected', [aNode({ status: { state: NodeState.DISCONNECTED } })], []],
  ];
  for (const [name, nodes, created] of elsewhere) {
    it(`of a node that is ${name}`, () => {
      const expected = created.length === 0 ? [] : ['update t-web-1-1 SHUTDOWN', ...created];
      assert.deepEqual(summary(plan(web(1), [running(1)], nodes)), expected);
    });
  }
});

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
    assert.deepEqual(summary(made), [
      'update t-web-1-1 SHUTDOWN',
      'update t-web-1-2 SHUTDOWN',
      'create 1.3 RUNNING',
    ]);
    const created = made.groups.flat().find((c) => c.action === 'create');
    assert.ok(created?.kind === 'task');
    assert.equal(created.object.spec.containerSpec.image, 'web:1');
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
