import assert from 'node:assert/strict';
import type { Node, Service, Task } from '../../../../../common/model/objects.js';
import {
  NodeAvailability,
  NodeState,
  RestartCondition,
  TaintEffect,
  TaskState,
  UpdateOrder,
  UpdateState,
  UpdateStatus,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, T0, type Some } from '../../../../support/builders.js';
import { created, NOW, plan, reasons, running, summary, web } from './planning.js';

const { START_FIRST, STOP_FIRST } = UpdateOrder;
const DRAIN = { availability: NodeAvailability.DRAIN };
const down = aNode({ status: { state: NodeState.DOWN, stateChangedAtMs: NOW - 1000 } });
const drained = aNode({ spec: DRAIN });

function moving(replicas: number, order: UpdateOrder, some: Some<Service['spec']> = {}): Service {
  const updateConfig = { order, parallelism: 1, monitorMs: 5000, ...some.updateConfig };
  return web(replicas, { spec: { ...some, updateConfig } });
}

/** The task that takes the place over from task 1 of the slot, on n2. */
function heir(slot: number, some: Some<TaskMessage> = {}): Task {
  return running(slot, {
    ...{ nodeId: 'n2', generation: 2, replacesTaskId: `t-web-${slot}-1`, createdAtMs: NOW },
    ...some,
    status: { state: TaskState.STARTING, runningAtMs: 0, ...some.status },
  });
}

describe('why tasks are moved', () => {
  const tainted = (addedAtMs: number): Node =>
    aNode({ spec: { taints: [{ key: 'disk', effect: TaintEffect.NO_EXECUTE, addedAtMs }] } });
  const tolerating = (tolerationMs?: number): Some<Service['spec']> => ({
    taskTemplate: { placement: { tolerations: [{ key: 'disk', tolerationMs }] } },
  });
  const zoned = { taskTemplate: { placement: { constraints: ['node.labels.zone==a'] } } };
  const reserving = { resources: { reservations: { memoryBytes: 600 } } };
  const cases: readonly [string, Node[], Some<Service['spec']>, string | undefined][] = [
    ['an active node', [aNode()], {}, undefined],
    ['a paused node', [aNode({ spec: { availability: NodeAvailability.PAUSE } })], {}, undefined],
    ['a silent agent', [aNode({ status: { state: NodeState.DISCONNECTED } })], {}, undefined],
    ['a drained node', [drained], {}, 'n1 is drained'],
    ['a node that is gone', [], {}, 'its node was removed'],
    ['a taint', [tainted(T0)], {}, 'n1 has the taint disk'],
    ['a taint that it tolerates', [tainted(T0)], tolerating(), undefined],
    ['for a while, which is over', [tainted(T0)], tolerating(60_000), 'n1 has the taint disk'],
    ['for a while', [tainted(T0 + 1)], tolerating(60_000), undefined],
    ['a label that is gone', [aNode()], zoned, 'n1 does not satisfy node.labels.zone==a any more'],
    ['the right label', [aNode({ spec: { labels: { zone: 'a' } } })], zoned, undefined],
    [
      'a node that has become too small',
      [aNode({ description: { resources: { memoryBytes: 500 } } })],
      { taskTemplate: reserving },
      'n1 has fewer resources than its tasks reserve',
    ],
  ];
  for (const [name, nodes, spec, reason] of cases) {
    it(name, () => {
      const service = moving(1, STOP_FIRST, spec);
      const task = running(1, { spec: service.spec.taskTemplate });
      const made = plan(service, [task], nodes);
      const expected = reason === undefined ? [] : [`t-web-1-1: ${reason}`, `1.2: ${reason}`];
      assert.deepEqual(reasons(made), expected);
    });
  }

  it('asks again when the time of a toleration is over', () => {
    const service = moving(1, STOP_FIRST, tolerating(60_000));
    const task = running(1, { spec: service.spec.taskTemplate });
    assert.equal(plan(service, [task], [tainted(T0 + 700)]).requeueAfterMs, 700);
  });

  it('moves the youngest of those that a node has no room for any more', () => {
    const service = moving(3, STOP_FIRST, { taskTemplate: reserving });
    const tasks = [3, 1, 2].map((age, i) =>
      running(i + 1, { createdAtMs: T0 - age, spec: service.spec.taskTemplate }),
    );
    const node = aNode({ description: { resources: { memoryBytes: 1300 } } });
    assert.deepEqual(summary(plan(service, tasks, [node])), [
      'update t-web-2-1 SHUTDOWN',
      'create 2.2 READY',
    ]);
  });
});

describe('a move that starts the new task first', () => {
  const nodes = [drained, aNode({ id: 'n2' })];

  it('leaves the old task alone until the new one has run for a while', () => {
    const service = moving(1, START_FIRST);
    assert.deepEqual(summary(plan(service, [running(1)], nodes)), ['create 1.2 RUNNING']);
    assert.deepEqual(summary(plan(service, [running(1), heir(1)], nodes)), []);
    const ran = (ms: number): Task =>
      heir(1, { status: { state: TaskState.RUNNING, runningAtMs: NOW - ms }, updatedAtMs: NOW });
    assert.deepEqual(summary(plan(service, [running(1), ran(100)], nodes)), []);
    assert.deepEqual(reasons(plan(service, [running(1), ran(500)], nodes)), [
      't-web-1-1: n1 is drained',
    ]);
  });

  it('takes as many at a time as an update may, and all if that has no limit', () => {
    const tasks = [1, 2, 3].map((slot) => running(slot));
    const moved = (parallelism: number, others: Task[] = []): string[] =>
      summary(
        plan(
          moving(3, START_FIRST, { updateConfig: { parallelism } }),
          [...tasks, ...others],
          nodes,
        ),
      );
    assert.deepEqual(moved(1), ['create 1.2 RUNNING']);
    assert.deepEqual(moved(2), ['create 1.2 RUNNING', 'create 2.2 RUNNING']);
    assert.equal(moved(0).length, 3);
    assert.deepEqual(moved(1, [heir(2)]), []);
  });

  it('is undone when the node is active again before the new task serves', () => {
    const back = [aNode(), aNode({ id: 'n2' })];
    assert.deepEqual(reasons(plan(moving(1, START_FIRST), [running(1), heir(1)], back)), [
      't-web-1-2: not needed any more: web.1 still runs on n1',
    ]);
  });

  it('loses nothing by moving at once what does not serve', () => {
    const starting = running(1, { status: { state: TaskState.STARTING, runningAtMs: 0 } });
    assert.deepEqual(summary(plan(moving(1, START_FIRST), [starting], nodes)), [
      'update t-web-1-1 SHUTDOWN',
      'create 1.2 READY',
    ]);
  });

  it('tries again, by the restart policy, when the new task fails, and may give up', () => {
    const restartPolicy = { maxAttempts: 1, delayMs: 2000 };
    const service = moving(1, START_FIRST, { taskTemplate: { restartPolicy } });
    const old = running(1, { spec: { restartPolicy } });
    const failed = heir(1, { spec: { restartPolicy }, status: { state: TaskState.FAILED } });
    const again = plan(service, [old, failed], nodes);
    assert.deepEqual(summary(again), ['update t-web-1-2 SHUTDOWN', 'create 1.3 READY +2000']);
    const last = { ...failed, restarts: created(again)[0]?.restarts };
    const over = plan(service, [old, last], nodes);
    assert.deepEqual(reasons(over), ['t-web-1-2: gave up after 1 attempt: web.1 failed']);
    const rest = { ...last, desiredState: TaskState.SHUTDOWN };
    assert.deepEqual(plan(service, [old, rest], nodes).groups, []);
  });
});

describe('a task of a lost node', () => {
  const service = moving(1, STOP_FIRST);
  const nodes = (some: Some<Node['status']> = {}): Node[] => [
    aNode({ status: { state: NodeState.DOWN, stateChangedAtMs: NOW - 1000, ...some } }),
    aNode({ id: 'n2' }),
  ];
  const back = { state: NodeState.READY };

  it('is given up only when another runs in its place', () => {
    const made = plan(service, [running(1)], nodes());
    assert.deepEqual(summary(made), ['create 1.2 RUNNING']);
    assert.deepEqual(reasons(made), ['1.2: n1 is down']);
    assert.deepEqual(summary(plan(service, [running(1), heir(1)], nodes())), []);
    const runs = heir(1, { status: { state: TaskState.RUNNING, runningAtMs: T0 } });
    assert.deepEqual(reasons(plan(service, [running(1), runs], nodes())), [
      't-web-1-1: n1 is down',
    ]);
  });

  it('goes on when its node is back before that, once its agent had time to tell of it', () => {
    const both = [running(1), heir(1)];
    const early = plan(service, both, nodes(back));
    assert.deepEqual([summary(early), early.requeueAfterMs], [[], 1000]);
    assert.deepEqual(
      reasons(plan(service, both, nodes({ ...back, stateChangedAtMs: NOW - 2000 }))),
      ['t-web-1-2: not needed any more: web.1 still runs on n1'],
    );
  });

  it('is replaced by the one under way if it turns out not to have lived', () => {
    const dead = running(1, { status: { state: TaskState.FAILED, err: 'power loss' } });
    assert.deepEqual(reasons(plan(service, [dead, heir(1)], nodes(back))), [
      't-web-1-1: web.1 failed: power loss',
    ]);
  });

  it('ends at once if it had not come to run, or its node will not be back', () => {
    const starting = running(1, { status: { state: TaskState.STARTING, runningAtMs: 0 } });
    const expected = ['update t-web-1-1 SHUTDOWN', 'create 1.2 RUNNING'];
    assert.deepEqual(summary(plan(service, [starting], nodes())), expected);
    assert.deepEqual(summary(plan(service, [running(1)], [])), expected);
  });

  it('is waited for if it must never run twice', () => {
    const restartPolicy = { condition: RestartCondition.NONE };
    const once = moving(1, STOP_FIRST, { taskTemplate: { restartPolicy } });
    assert.deepEqual(summary(plan(once, [running(1, { spec: { restartPolicy } })], [down])), []);
  });

  it('does not take along the one that was to give way to it', () => {
    const old = running(1, { spec: { containerSpec: { image: 'web:0' } } });
    const paused = {
      ...moving(1, START_FIRST),
      ...{ specVersion: 2, updateStatus: UpdateStatus.fromPartial({ state: UpdateState.PAUSED }) },
    };
    const lost = heir(1, { nodeId: 'gone', takesOver: true, cause: 'rebalanced', specVersion: 2 });
    assert.deepEqual(reasons(plan(paused, [old, lost], [aNode()])), [
      't-web-1-2: its node was removed',
    ]);
  });
});
