import assert from 'node:assert/strict';
import type { Node, Service, Task } from '../../../../../common/model/objects.js';
import { placeOf } from '../../../../../common/model/task-place.js';
import { planService } from '../../../../../manager/core/orchestrator/plan-service.js';
import { serviceStatusOf } from '../../../../../manager/core/service/service-status.js';
import {
  NodeAvailability,
  NodeState,
  RestartCondition,
  TaskState,
  UpdateOrder,
  type RestartPolicy,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, aTask, snapshotOf, T0, type Some } from '../../../../support/builders.js';

const NOW = T0 + 60_000;

function job(totalCompletions: number, maxConcurrent: number, iteration = 1): Service {
  const mode = { $case: 'replicatedJob', value: { totalCompletions, maxConcurrent } } as const;
  return aService({ jobStatus: { iteration }, spec: { mode } });
}

function globalJob(): Service {
  return aService({
    jobStatus: { iteration: 1 },
    spec: { mode: { $case: 'globalJob', value: {} } },
  });
}

function task(slot: number, state: TaskState, some: Some<TaskMessage> = {}): Task {
  const generation = some.generation ?? 1;
  return aTask({
    slot,
    generation,
    id: `${slot}-${generation}`,
    nodeId: 'n1',
    jobIteration: 1,
    desiredState: TaskState.COMPLETE,
    ...some,
    status: { state, timestampMs: NOW - 100, runningAtMs: NOW - 200, ...some.status },
  });
}

const policy = (restartPolicy: Some<RestartPolicy>) => ({ spec: { restartPolicy } });

function decided(service: Service, tasks: readonly Task[], nodes: Node[] = [aNode()]): string[] {
  let ids = 0;
  const snapshot = snapshotOf({ services: [service], tasks, nodes });
  const context = { nowMs: NOW, newId: () => `new${++ids}` };
  const { groups } = planService(snapshot, service.id, context);
  return groups.flat().map(({ action, kind, object }) => {
    if (kind !== 'task') return `${action} ${kind}`;
    const desired = object.desiredState.replace('TASK_STATE_', '');
    if (action === 'update') return `${object.id} ${desired}: ${object.desiredReason}`;
    const delay = object.startAfterMs === 0 ? '' : ` in ${object.startAfterMs - NOW}`;
    assert.equal(object.jobIteration, service.jobStatus?.iteration);
    return `${placeOf(object)} +${object.generation} ${desired}${delay}: ${object.cause}`;
  });
}

const { COMPLETE, FAILED, RUNNING, READY, SHUTDOWN, REMOVE } = TaskState;
const FIRST = 'iteration 1 of the job';
const CASES: readonly [string, Service, Task[], string[]][] = [
  ['as many at once as it may', job(5, 2), [], [`1 +1 COMPLETE: ${FIRST}`, `2 +1 COMPLETE: ${FIRST}`]],
  ['all at once', job(2, 0), [], [`1 +1 COMPLETE: ${FIRST}`, `2 +1 COMPLETE: ${FIRST}`]],
  ['the next one when one has ended well', job(5, 2), [task(1, COMPLETE), task(2, RUNNING)], [`3 +1 COMPLETE: ${FIRST}`]],
  ['no more than there are', job(3, 2), [task(1, COMPLETE), task(2, COMPLETE), task(3, RUNNING)], []],
  ['nothing when all have ended well', job(2, 1), [task(1, COMPLETE), task(2, COMPLETE)], []],
  ['one that failed, in its own slot and before others', job(5, 1), [task(1, FAILED)], ['1-1 SHUTDOWN: web.1 failed; replaced after 5s', '1 +2 READY in 5000: web.1 failed']],
  ['one that ended well is not replaced, whatever the condition', job(1, 1), [task(1, COMPLETE, policy({ condition: RestartCondition.ANY }))], []],
  ['one that is given up leaves its room to others', job(2, 1), [task(1, FAILED, policy({ condition: RestartCondition.NONE }))], ['1-1 SHUTDOWN: web.1 failed; its restart policy is none', `2 +1 COMPLETE: ${FIRST}`]],
  ['no more attempts than allowed', job(1, 1), [task(1, FAILED, { ...policy({ maxAttempts: 2 }), restarts: { atMs: [NOW - 9000, NOW - 500], inRow: 2 } })], ['1-1 SHUTDOWN: gave up after 2 attempts: web.1 failed']],
  ['one that was stopped before its end', job(1, 1), [task(1, SHUTDOWN, { desiredState: SHUTDOWN })], ['1 +2 COMPLETE: web.1 was stopped before its end']],
  ['one that was given up stays so', job(1, 1), [task(1, FAILED, { desiredState: SHUTDOWN })], []],
  ['one whose delay is over', job(1, 1), [task(1, FAILED, { desiredState: SHUTDOWN }), task(1, READY, { generation: 2, desiredState: READY })], ['1-2 COMPLETE: nothing is in its way any more']],
  ['another iteration', job(2, 2, 2), [task(1, RUNNING), task(2, COMPLETE)], ['1-1 REMOVE: iteration 2 of the job began', '1 +2 READY: iteration 2 of the job', '2-1 REMOVE: iteration 2 of the job began', '2 +2 COMPLETE: iteration 2 of the job']],
  ['nothing twice of the iteration before', job(1, 1, 2), [task(1, RUNNING, { desiredState: REMOVE }), task(1, READY, { generation: 2, desiredState: READY, jobIteration: 2 })], []],
  ['one that comes back before it was gone', job(1, 1), [task(1, COMPLETE, { desiredState: REMOVE })], ['1 +2 COMPLETE: iteration 1 of the job']],
  ['none of none', job(0, 3), [], []],
]; // prettier-ignore

describe('replicated jobs', () => {
  for (const [name, service, tasks, expected] of CASES) {
    it(name, () => {
      assert.deepEqual(decided(service, tasks), expected);
    });
  }

  it('keep the room of a slot whose task failed before it was to run', () => {
    const waiting = { ...policy({}), desiredState: TaskState.READY, startAfterMs: NOW + 900 };
    const rejected = task(1, TaskState.REJECTED, waiting);
    assert.deepEqual(decided(job(2, 1), [rejected]), []);
  });

  it('never run twice at once, whatever the order of updates', () => {
    const { spec } = job(1, 1);
    const updateConfig = { ...spec.updateConfig, order: UpdateOrder.START_FIRST };
    const drained = aNode({ spec: { availability: NodeAvailability.DRAIN } });
    const service = { ...job(1, 1), spec: { ...spec, updateConfig } };
    assert.deepEqual(decided(service, [task(1, RUNNING)], [drained]), [
      '1-1 SHUTDOWN: n1 is drained',
      '1 +2 READY: n1 is drained',
    ]);
  });

  it('make so many tasks at once that others have their turn', () => {
    const service = job(100_000, 0);
    const snapshot = snapshotOf({ services: [service], nodes: [aNode()] });
    const plan = planService(snapshot, service.id, { nowMs: NOW, newId: () => 'new' });
    assert.ok(plan.groups.length < 10_000);
    assert.equal(plan.requeueAfterMs, 0);
  });

  it('count what has completed of their present iteration', () => {
    const service = job(5, 2, 2);
    const tasks = [
      task(1, COMPLETE, { jobIteration: 2 }),
      task(2, COMPLETE, { jobIteration: 1 }),
      task(3, RUNNING, { jobIteration: 2 }),
    ];
    const snapshot = snapshotOf({ services: [service], tasks, nodes: [aNode()] });
    const status = serviceStatusOf(snapshot, service);
    assert.deepEqual(status, { runningTasks: 1, desiredTasks: 2, completedTasks: 1 });
  });
});

describe('global jobs', () => {
  const nodes = ['n1', 'n2', 'n3'].map((id) => aNode({ id }));
  const on = (nodeId: string, state: TaskState, some: Some<TaskMessage> = {}): Task =>
    task(0, state, { id: `${nodeId}-1`, nodeId, ...some });

  it('run on each node, also on those that join later', () => {
    assert.deepEqual(decided(globalJob(), [on('n1', COMPLETE), on('n2', RUNNING)], nodes), [
      'n3 +1 COMPLETE: n3 can have one',
    ]);
  });

  it('run again where they were stopped before their end, and nowhere else', () => {
    const stopped = on('n2', SHUTDOWN, { desiredState: SHUTDOWN });
    const given = on('n3', FAILED, { desiredState: SHUTDOWN });
    assert.deepEqual(decided(globalJob(), [on('n1', COMPLETE), stopped, given], nodes), [
      'n2 +2 COMPLETE: n2 can have one again',
    ]);
  });

  it('leave drained nodes, but for what is done there', () => {
    const drain = { spec: { availability: NodeAvailability.DRAIN } };
    const drained = ['n1', 'n2'].map((id) => aNode({ id, ...drain }));
    assert.deepEqual(decided(globalJob(), [on('n1', COMPLETE), on('n2', RUNNING)], drained), [
      'n2-1 SHUTDOWN: n2 is drained',
    ]);
  });

  it('begin anew with each iteration, each node when it is free', () => {
    const second = { ...globalJob(), jobStatus: { iteration: 2, lastExecutionMs: 0 } };
    const tasks = [on('n1', COMPLETE), on('n2', RUNNING), on('n3', FAILED)];
    assert.deepEqual(decided(second, tasks, nodes), [
      ...['n1-1 REMOVE: iteration 2 of the job began', 'n1 +2 COMPLETE: n1 can have one'],
      ...['n2-1 REMOVE: iteration 2 of the job began', 'n2 +2 READY: n2 can have one'],
      ...['n3-1 REMOVE: iteration 2 of the job began', 'n3 +2 COMPLETE: n3 can have one'],
    ]);
  });

  it('keep to the attempts of their policy on each node', () => {
    const failed = on('n1', FAILED, {
      ...policy({ maxAttempts: 1 }),
      restarts: { atMs: [NOW - 500], inRow: 1 },
    });
    assert.deepEqual(decided(globalJob(), [failed]), [
      'n1-1 SHUTDOWN: gave up after 1 attempt: web failed',
    ]);
  });

  it('are done when each node that can be reached is', () => {
    const down = aNode({ id: 'n3', status: { state: NodeState.DOWN } });
    const service = globalJob();
    const tasks = [on('n1', COMPLETE), on('n2', RUNNING), on('n3', RUNNING)];
    const snapshot = snapshotOf({
      services: [service],
      tasks,
      nodes: [...nodes.slice(0, 2), down],
    });
    const status = serviceStatusOf(snapshot, service);
    assert.deepEqual(status, { runningTasks: 1, desiredTasks: 1, completedTasks: 1 });
  });
});
