import assert from 'node:assert/strict';
import type { Service, Task } from '../../../../../common/model/objects.js';
import {
  NodeAvailability,
  RestartCondition,
  TaskState,
  UpdateOrder,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, T0, type Some } from '../../../../support/builders.js';
import { created, NOW, plan, reasons, running, summary, web } from './planning.js';

const nodes = [aNode(), aNode({ id: 'n2' })];

function even(order: UpdateOrder): Service {
  const updateConfig = { order, parallelism: 1, monitorMs: 5000, progressDeadlineMs: 30_000 };
  return web(2, { spec: { rebalance: true, updateConfig } });
}

/** A task that was moved to n2 so long ago, where nobody has let it in yet. */
function moved(forMs: number, some: Some<TaskMessage> = {}): Task {
  return running(2, {
    ...{ nodeId: 'n2', generation: 2, replacesTaskId: 't-web-2-1', takesOver: true },
    ...{ createdAtMs: NOW - forMs, cause: 'rebalanced from n1 to n2' },
    ...some,
    status: { state: TaskState.PENDING, runningAtMs: 0, message: 'n2 is full', ...some.status },
  });
}

describe('a task that is to be moved', () => {
  const both = [running(1), running(2)];
  const ended = running(2, {
    desiredState: TaskState.SHUTDOWN,
    status: { state: TaskState.SHUTDOWN },
  });
  const { START_FIRST, STOP_FIRST } = UpdateOrder;

  it('goes to a certain node, beside the old one or after it', () => {
    const first = plan(even(START_FIRST), both, nodes);
    assert.deepEqual(reasons(first), ['2.2: rebalanced from n1 to n2']);
    assert.deepEqual(
      created(first).map((t) => [t.nodeId, t.takesOver, t.desiredState]),
      [['n2', true, TaskState.RUNNING]],
    );
    assert.deepEqual(summary(plan(even(STOP_FIRST), both, nodes)), [
      'update t-web-2-1 SHUTDOWN',
      'create 2.2 READY',
    ]);
  });

  it('stays if the node it was to go to is drained meanwhile', () => {
    const drained = aNode({ id: 'n2', spec: { availability: NodeAvailability.DRAIN } });
    const beside = [...both, moved(1000)];
    assert.deepEqual(reasons(plan(even(START_FIRST), beside, [aNode(), drained])), [
      't-web-2-2: n2 is drained',
    ]);
  });

  it('is no less moved for a place that has been given up', () => {
    const restartPolicy = { condition: RestartCondition.NONE };
    const over = running(3, {
      spec: { restartPolicy },
      desiredState: TaskState.SHUTDOWN,
      status: { state: TaskState.FAILED },
    });
    const three = {
      ...even(START_FIRST),
      spec: { ...even(START_FIRST).spec, mode: web(3).spec.mode },
    };
    assert.deepEqual(reasons(plan(three, [...both, over], nodes)), [
      '2.2: rebalanced from n1 to n2',
    ]);
  });

  it('waits until its node has been there for a while', () => {
    const late = aNode({ id: 'n2', status: { stateChangedAtMs: NOW - 9000 } });
    const early = plan(even(START_FIRST), both, [aNode(), late]);
    assert.deepEqual(early, { groups: [], requeueAfterMs: 1000 });
  });

  it('is given up for the one that serves, when its time to come up is over', () => {
    const at = (ms: number): string[] =>
      reasons(plan(even(START_FIRST), [...both, moved(ms)], nodes));
    assert.deepEqual(at(29_999), []);
    assert.deepEqual(at(30_000), ['t-web-2-2: web.2 did not come up there: n2 is full']);
  });

  it('goes wherever there is room if nothing serves in its place', () => {
    const service = even(STOP_FIRST);
    assert.deepEqual(summary(plan(service, [running(1), ended, moved(2999)], nodes)), []);
    const made = plan(service, [running(1), ended, moved(3000)], nodes);
    assert.deepEqual(summary(made), ['update t-web-2-2 SHUTDOWN', 'create 2.3 RUNNING']);
    assert.deepEqual(created(made)[0]?.nodeId, '');
    const starting = moved(60_000, { status: { state: TaskState.PREPARING } });
    assert.deepEqual(plan(service, [running(1), ended, starting], nodes).groups, []);
  });

  it('has the place when it has proven itself', () => {
    const runs = moved(2000, { status: { state: TaskState.RUNNING, runningAtMs: T0 } });
    assert.deepEqual(reasons(plan(even(START_FIRST), [...both, runs], nodes)), [
      't-web-2-1: rebalanced from n1 to n2',
    ]);
  });

  it('is not tried again for a while when it failed, nor is any other', () => {
    const failed = (agoMs: number): Task =>
      moved(60_000, {
        ...{ desiredState: TaskState.SHUTDOWN, desiredSinceMs: NOW - agoMs },
        status: { state: TaskState.REJECTED },
      });
    assert.deepEqual(plan(even(START_FIRST), [...both, failed(599_000)], nodes), {
      groups: [],
      requeueAfterMs: 1000,
    });
    assert.equal(plan(even(START_FIRST), [...both, failed(600_000)], nodes).groups.length, 1);
  });
});
