import assert from 'node:assert/strict';
import type { Node, Service, Task } from '../../../../../common/model/objects.js';
import {
  eventsOfNode,
  eventsOfRemovedNode,
} from '../../../../../manager/core/events/node-events.js';
import type { NewEvent } from '../../../../../manager/core/events/new-event.js';
import {
  eventsOfNewRevision,
  eventsOfRemovedService,
  eventsOfService,
} from '../../../../../manager/core/events/service-events.js';
import {
  eventsOfRemovedTask,
  eventsOfTask,
} from '../../../../../manager/core/events/task-events.js';
import {
  EventType,
  NodeAvailability,
  NodeRole,
  NodeState,
  TaintEffect,
  TaskState,
  UpdateState,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aNode,
  aRevision,
  aService,
  aTask,
  snapshotOf,
  T0,
  type Some,
} from '../../../../support/builders.js';

/** "Failed! web.1: exit code 1", where "!" is a warning. */
function words(events: readonly NewEvent[]): string[] {
  return events.map(({ reason, objectName, message, type }) => {
    const mark = type === EventType.WARNING ? '!' : '';
    return `${reason}${mark} ${objectName}: ${message}`;
  });
}

describe('events of a task', () => {
  const names = snapshotOf({ nodes: [aNode({ id: 'n1', spec: { name: 'east' } })] });
  const { NEW, PENDING, ASSIGNED, RUNNING, FAILED, REJECTED, COMPLETE, SHUTDOWN } = TaskState;
  const { READY, ORPHANED, STARTING } = TaskState;
  const task = (state: TaskState, some: Some<TaskMessage> = {}): Task =>
    aTask({
      ...{ nodeId: 'n1', ...some },
      status: { state, timestampMs: T0 + 5, runningAtMs: T0 + 3, ...some.status },
    });
  const ended = (state: TaskState, err: string, exitCode?: number): Task =>
    task(state, { status: { err, containerStatus: exitCode === undefined ? {} : { exitCode } } });
  const waiting = (state: TaskState, message: string): Task =>
    task(state, { nodeId: '', status: { message } });
  const told = (state: TaskState, desiredState: TaskState): Task =>
    task(state, { desiredState, desiredReason: 'n1 is drained' });

  const cases: readonly [string, Task | undefined, Task, string[]][] = [
    [
      'is made, for a reason',
      undefined,
      task(NEW, { nodeId: '', cause: 'scaled up to 3' }),
      ['Created web.1: scaled up to 3'],
    ],
    ['waits as usual', waiting(NEW, 'created'), waiting(PENDING, 'waits for a node'), []],
    [
      'fits nowhere',
      waiting(PENDING, 'waits for a node'),
      waiting(PENDING, 'no suitable node: …'),
      ['Unplaceable! web.1: no suitable node: …'],
    ],
    ['still fits nowhere', waiting(PENDING, 'no node'), waiting(PENDING, 'no node'), []],
    [
      'still fits nowhere, in other figures',
      waiting(PENDING, 'no suitable node: 2 of 3 nodes lack resources (the largest free is n1)'),
      waiting(PENDING, 'no suitable node: 1 of 3 nodes lacks resources (the largest free is n2)'),
      [],
    ],
    [
      'fits nowhere for another reason',
      waiting(PENDING, 'no suitable node: 1 of 1 node lacks resources'),
      waiting(PENDING, 'no suitable node: 1 of 1 node takes no tasks'),
      ['Unplaceable! web.1: no suitable node: 1 of 1 node takes no tasks'],
    ],
    [
      'gets no address',
      waiting(NEW, 'created'),
      waiting(NEW, 'network backend is full'),
      ['Unallocated! web.1: network backend is full'],
    ],
    ['is placed', waiting(PENDING, ''), task(ASSIGNED), ['Placed web.1: on east']],
    ['runs', task(STARTING), task(RUNNING), ['Running web.1: on east']],
    ['gets on', task(ASSIGNED), task(READY), []],
    [
      'was seen only later',
      undefined,
      task(RUNNING, { cause: 'service created' }),
      ['Created web.1: service created', 'Placed web.1: on east', 'Running web.1: on east'],
    ],
    [
      'fails',
      task(RUNNING),
      ended(FAILED, 'task: non-zero exit (3)', 3),
      ['Failed! web.1: task: non-zero exit (3)'],
    ],
    [
      'fails with a code that its words lack',
      task(RUNNING),
      ended(FAILED, 'unhealthy', 137),
      ['Failed! web.1: unhealthy (exit code 137)'],
    ],
    [
      'is rejected',
      task(READY),
      ended(REJECTED, 'no image web:1'),
      ['Rejected! web.1: no image web:1'],
    ],
    ['completes', task(RUNNING), ended(COMPLETE, '', 0), ['Completed web.1: ']],
    [
      'is lost',
      task(RUNNING),
      task(ORPHANED, { status: { message: 'its node is lost' } }),
      ['Orphaned! web.1: its node is lost'],
    ],
    ['is told to stop', task(RUNNING), told(RUNNING, SHUTDOWN), ['Stopping web.1: n1 is drained']],
    ['is told so when it has ended', task(FAILED), told(FAILED, SHUTDOWN), []],
    ['is told to go as well', told(RUNNING, SHUTDOWN), told(RUNNING, TaskState.REMOVE), []],
    [
      'has stopped',
      told(RUNNING, SHUTDOWN),
      told(SHUTDOWN, SHUTDOWN),
      ['Stopped web.1: n1 is drained'],
    ],
    [
      'of a global service is called by its node',
      undefined,
      task(NEW, { slot: 0, cause: 'east can have one' }),
      ['Created web.east: east can have one'],
    ],
  ];
  for (const [what, before, after, expected] of cases) {
    it(`that ${what}`, () => {
      assert.deepEqual(words(eventsOfTask(before, after, names)), expected);
    });
  }

  it('name its service and node, and the time it says itself', () => {
    const [event] = eventsOfTask(task(STARTING), task(RUNNING), names);
    assert.deepEqual(event, {
      kind: 'task',
      objectId: 't-web-1-1',
      objectName: 'web.1',
      serviceId: 'id-web',
      nodeId: 'n1',
      type: EventType.NORMAL,
      reason: 'Running',
      message: 'on east',
      atMs: T0 + 3,
    });
  });

  it('tell when it is removed because that was wanted, not when its history is trimmed', () => {
    const removed = eventsOfRemovedTask(told(SHUTDOWN, TaskState.REMOVE), names);
    assert.deepEqual(words(removed), ['Removed web.1: n1 is drained']);
    assert.deepEqual(eventsOfRemovedTask(told(FAILED, SHUTDOWN), names), []);
  });
});

describe('events of a service', () => {
  const updating = (state: UpdateState, message: string, some: object = {}): Service =>
    aService({ updateStatus: { state, message, startedAtMs: T0 + 1, ...some } });
  const { UPDATING, PAUSED, COMPLETED, ROLLBACK_STARTED, ROLLBACK_COMPLETED } = UpdateState;
  const cases: readonly [string, Service | undefined, Service, string[]][] = [
    ['that is new', undefined, aService(), ['Created web: image web:1']],
    ['that is allocated', aService(), aService({ version: 9 }), []],
    [
      'that is updated',
      aService(),
      updating(UPDATING, 'update in progress'),
      ['UpdateStarted web: revision 1: update in progress'],
    ],
    [
      'whose update is taken over by another',
      updating(UPDATING, 'update in progress'),
      updating(UPDATING, 'update in progress', { startedAtMs: T0 + 2 }),
      ['UpdateStarted web: revision 1: update in progress'],
    ],
    [
      'whose update fails',
      updating(UPDATING, ''),
      updating(PAUSED, 'update paused due to failure of task …'),
      ['UpdatePaused! web: revision 1: update paused due to failure of task …'],
    ],
    [
      'whose update is paused',
      updating(UPDATING, ''),
      updating(PAUSED, 'paused by request'),
      ['UpdatePaused web: revision 1: paused by request'],
    ],
    [
      'whose update goes on',
      updating(PAUSED, 'paused by request'),
      updating(UPDATING, 'resumed by request', { resumedAtMs: T0 + 4 }),
      ['UpdateResumed web: revision 1: resumed by request'],
    ],
    [
      'that is rolled back by itself',
      updating(UPDATING, ''),
      updating(ROLLBACK_STARTED, 'update rolled back due to …'),
      ['RollbackStarted! web: revision 1: update rolled back due to …'],
    ],
    [
      'that is rolled back',
      aService(),
      updating(ROLLBACK_STARTED, 'rollback requested'),
      ['RollbackStarted web: revision 1: rollback requested'],
    ],
    [
      'whose rollback is complete',
      updating(ROLLBACK_STARTED, ''),
      updating(ROLLBACK_COMPLETED, 'rollback completed', { completedAtMs: T0 + 9 }),
      ['RollbackCompleted web: revision 1: rollback completed'],
    ],
    [
      'whose update is complete',
      updating(UPDATING, ''),
      updating(COMPLETED, 'update completed'),
      ['UpdateCompleted web: revision 1: update completed'],
    ],
    [
      'that goes',
      aService(),
      aService({ pendingDelete: true }),
      ['Removing web: its tasks are stopped first'],
    ],
    [
      'that stays after all',
      aService({ pendingDelete: true }),
      aService(),
      ['Restored web: wanted again before it was gone'],
    ],
  ];
  for (const [what, before, after, expected] of cases) {
    it(what, () => {
      assert.deepEqual(words(eventsOfService(before, after)), expected);
    });
  }

  it('that is gone', () => {
    assert.deepEqual(words(eventsOfRemovedService(aService())), [
      'Removed web: all of its tasks are gone',
    ]);
  });

  it('with a new revision', () => {
    const service = aService();
    const newer = aService({ spec: { taskTemplate: { containerSpec: { image: 'web:2' } } } });
    const of = (number: number, cause: string, from = service): ReturnType<typeof aRevision> =>
      aRevision(from, { number, cause });
    const all = [of(1, 'created'), of(2, 'updated', newer), of(3, 'scaled to 5', newer)];
    const names = snapshotOf({ services: [service], revisions: all });
    assert.deepEqual(
      all.map((r) => words(eventsOfNewRevision(r, names))),
      [
        [],
        ['Updated web: revision 2: updated, image web:1 → web:2'],
        ['Scaled web: revision 3: scaled to 5'],
      ],
    );
  });
});

describe('events of a node', () => {
  const inState = (state: NodeState, message = ''): Node => aNode({ status: { state, message } });
  const withSpec = (spec: Some<Node['spec']>): Node => aNode({ spec });
  const { READY, DISCONNECTED, DOWN, UNKNOWN } = NodeState;
  const taint = { key: 'gpu', value: 'yes', effect: TaintEffect.NO_EXECUTE };
  const cases: readonly [string, Node | undefined, Node, string[]][] = [
    [
      'that joins',
      undefined,
      aNode({ status: { state: UNKNOWN, addr: '10.0.0.2' } }),
      ['Joined n1: as worker from 10.0.0.2'],
    ],
    ['that is ready', inState(UNKNOWN), inState(READY, 'connected'), ['Ready n1: connected']],
    ['that says so again', inState(READY), inState(READY, 'connected'), []],
    [
      'that is silent',
      inState(READY),
      inState(DISCONNECTED, 'no heartbeat'),
      ['Disconnected! n1: no heartbeat'],
    ],
    ['that is lost', inState(READY), inState(DOWN, 'it is silent'), ['Down! n1: it is silent']],
    [
      'that is drained',
      aNode(),
      withSpec({ availability: NodeAvailability.DRAIN }),
      ['Drained n1: its tasks are moved away'],
    ],
    [
      'that is active again',
      withSpec({ availability: NodeAvailability.PAUSE }),
      aNode(),
      ['Activated n1: takes tasks again'],
    ],
    [
      'that is promoted',
      aNode(),
      withSpec({ role: NodeRole.MANAGER }),
      ['Promoted n1: to manager'],
    ],
    ['that is demoted', withSpec({ role: NodeRole.MANAGER }), aNode(), ['Demoted n1: to worker']],
    [
      'with other labels',
      withSpec({ labels: { zone: 'a', old: '1', same: 'x' } }),
      withSpec({ labels: { zone: 'b', ssd: '', same: 'x' } }),
      ['LabelsChanged n1: -old, +ssd, zone=a → b'],
    ],
    [
      'with other taints',
      aNode(),
      withSpec({ taints: [taint] }),
      ['TaintsChanged n1: +gpu:no-execute=yes'],
    ],
    ['that is described anew', aNode(), aNode({ description: { hostname: 'other' } }), []],
  ];
  for (const [what, before, after, expected] of cases) {
    it(what, () => {
      assert.deepEqual(words(eventsOfNode(before, after)), expected);
    });
  }

  it('that is removed', () => {
    assert.deepEqual(words(eventsOfRemovedNode(aNode())), ['Removed n1: removed from the cluster']);
  });
});
