import assert from 'node:assert/strict';
import type { Node, Service, Task } from '../../../../../common/model/objects.js';
import { placeOf } from '../../../../../common/model/task-place.js';
import { planService } from '../../../../../manager/core/orchestrator/plan-service.js';
import { serviceStatusOf } from '../../../../../manager/core/service/service-status.js';
import {
  NodeAvailability,
  NodeState,
  RestartCondition,
  TaintEffect,
  TaskState,
  UpdateFailureAction,
  UpdateOrder,
  UpdateState,
  type Node as NodeMessage,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, aTask, snapshotOf, T0, type Some } from '../../../../support/builders.js';

const NOW = T0 + 60_000;
const GLOBAL = { $case: 'global', value: {} } as const;

function agent(some: Some<Service> = {}): Service {
  return aService({ ...some, spec: { ...some.spec, mode: GLOBAL } });
}

function on(nodeId: string, some: Some<TaskMessage> = {}): Task {
  const status = { state: TaskState.RUNNING, runningAtMs: T0, ...some.status };
  const generation = some.generation ?? 1;
  return aTask({ slot: 0, nodeId, generation, id: `${nodeId}-${generation}`, ...some, status });
}

/** "n2 +1 RUNNING: n2 can have one", "n1-1 SHUTDOWN: n1 is drained" */
function decided(service: Service, nodes: readonly Node[], tasks: readonly Task[]): string[] {
  let ids = 0;
  const snapshot = snapshotOf({ services: [service], tasks, nodes });
  const context = { nowMs: NOW, newId: () => `new${++ids}` };
  const { groups } = planService(snapshot, service.id, context);
  return groups.flat().map(({ action, kind, object }) => {
    if (kind !== 'task') return `${action} ${kind}`;
    const desired = object.desiredState.replace('TASK_STATE_', '');
    if (action === 'update') return `${object.id} ${desired}: ${object.desiredReason}`;
    return `${placeOf(object)} +${object.generation} ${desired}: ${object.cause}`;
  });
}

const drained: Some<NodeMessage> = { spec: { availability: NodeAvailability.DRAIN } };
const paused: Some<NodeMessage> = { spec: { availability: NodeAvailability.PAUSE } };
const down: Some<NodeMessage> = { status: { state: NodeState.DOWN } };
const silent: Some<NodeMessage> = { status: { state: NodeState.DISCONNECTED } };
const tainted = (effect: TaintEffect): Some<NodeMessage> => ({
  spec: { taints: [{ key: 'gpu', value: 'yes', effect }] },
});
const n1 = aNode({ id: 'n1' });
const n2 = (some: Some<NodeMessage> = {}): Node => aNode({ id: 'n2', ...some });
const ended = (state: TaskState, some: Some<TaskMessage> = {}): Task =>
  on('n2', { desiredState: TaskState.SHUTDOWN, ...some, status: { state } });
const onZone = { spec: { taskTemplate: { placement: { constraints: ['node.labels.zone==a'] } } } };
const tolerant = { spec: { taskTemplate: { placement: { tolerations: [{ key: 'gpu' }] } } } };
const never = { restartPolicy: { condition: RestartCondition.NONE } };

const CASES: readonly [string, Service, Node[], Task[], string[]][] = [
  ['a task on each node', agent(), [n1, n2()], [], ['n1 +1 RUNNING: service created', 'n2 +1 RUNNING: service created']],
  ['nothing where all is there', agent(), [n1, n2()], [on('n1'), on('n2')], []],
  ['a node that joined', agent(), [n1, n2()], [on('n1')], ['n2 +1 RUNNING: n2 can have one']],
  ['none on nodes that take none', agent(), [n1, n2(paused), aNode({ id: 'n3', ...silent }), aNode({ id: 'n4', ...down })], [on('n1')], []],
  ['what a paused node has stays', agent(), [n1, n2(paused)], [on('n1'), on('n2')], []],
  ['a drained node', agent(), [n1, n2(drained)], [on('n1'), on('n2')], ['n2-1 SHUTDOWN: n2 is drained']],
  ['a node that was drained', agent(), [n1, n2()], [on('n1'), ended(TaskState.SHUTDOWN)], ['n2 +2 RUNNING: n2 can have one again']],
  ['the last one has not ended yet', agent(), [n1, n2()], [on('n1'), ended(TaskState.RUNNING)], ['n2 +2 READY: n2 can have one again']],
  ['a node that is down', agent(), [n1, n2(down)], [on('n1'), on('n2')], []],
  ['a node that came back with its task alive', agent(), [n1, n2({ status: { stateChangedAtMs: NOW } })], [on('n1'), on('n2')], []],
  ['a node that was removed', agent(), [n1], [on('n1'), on('n2')], ['n2-1 REMOVE: its node was removed']],
  ['a constraint', agent(onZone), [n1, n2({ spec: { labels: { zone: 'a' } } })], [], ['n2 +1 RUNNING: service created']],
  ['a label that is gone', agent(onZone), [n1], [on('n1')], ['n1-1 SHUTDOWN: n1 does not satisfy node.labels.zone==a any more']],
  ['another platform', agent({ spec: { taskTemplate: { placement: { platforms: [{ os: 'linux', architecture: 'arm64' }] } } } }), [n1], [], []],
  ['a taint that keeps new ones away', agent(), [n1, n2(tainted(TaintEffect.NO_SCHEDULE))], [on('n1')], []],
  ['a taint that lets others stay', agent(), [n1, n2(tainted(TaintEffect.NO_SCHEDULE))], [on('n1'), on('n2')], []],
  ['a taint that ends what is there', agent(), [n1, n2(tainted(TaintEffect.NO_EXECUTE))], [on('n1'), on('n2')], ['n2-1 SHUTDOWN: n2 is tainted gpu=yes']],
  ['a taint that is tolerated', agent(tolerant), [n1, n2(tainted(TaintEffect.NO_EXECUTE))], [on('n1')], ['n2 +1 RUNNING: n2 can have one']],
  ['a policy that said no', agent(), [n1, n2()], [on('n1'), ended(TaskState.COMPLETE)], []],
  ['a task that ends by itself, never to be restarted', agent({ spec: { taskTemplate: never } }), [n2()], [on('n2', { spec: never, status: { state: TaskState.FAILED } })], ['n2-1 SHUTDOWN: web failed; its restart policy is none']],
  ['what ended on a drained node waits for its policy', agent(), [n2(drained)], [on('n2', { status: { state: TaskState.FAILED } })], []],
  ['a node with less room than its task needs', agent(), [n2({ description: { resources: { nanoCpus: 1e9 } } })], [on('n2', { spec: { resources: { reservations: { nanoCpus: 2e9 } } } })], ['n2-1 SHUTDOWN: n2 has fewer resources than its tasks reserve', 'n2 +2 READY: n2 can have one again']],
  ['a task that waits for room on its node', agent(), [n2({ description: { resources: { nanoCpus: 1e9 } } })], [on('n2', { status: { state: TaskState.PENDING }, spec: { resources: { reservations: { nanoCpus: 2e9 } } } })], []],
  ['a service that is removed', agent({ pendingDelete: true }), [n1], [on('n1'), on('n2')], ['n1-1 REMOVE: its service was removed', 'n2-1 REMOVE: its service was removed']],
]; // prettier-ignore

describe('global services', () => {
  for (const [name, service, nodes, tasks, expected] of CASES) {
    it(name, () => {
      assert.deepEqual(decided(service, nodes, tasks), expected);
    });
  }

  it('begins another update for what a node that was away brings', () => {
    const state = { state: UpdateState.COMPLETED, message: 'update completed' };
    const service = agent({ specVersion: 2, updateStatus: state, spec: image('web:2') });
    const tasks = [on('n1', { specVersion: 2, spec: image('web:2').taskTemplate }), on('n2')];
    assert.deepEqual(decided(service, [n1, n2(down)], tasks), []);
    assert.deepEqual(decided(service, [n1, n2()], tasks), ['update service']);
  });

  it('begins none for what the last one has tried in vain', () => {
    const failed = on('n2', {
      ...{ generation: 2, specVersion: 2, desiredState: TaskState.SHUTDOWN },
      spec: { ...image('web:2').taskTemplate, ...never },
      status: { state: TaskState.FAILED, runningAtMs: 0 },
    });
    const { START_FIRST } = UpdateOrder;
    const updateConfig = { order: START_FIRST, failureAction: UpdateFailureAction.CONTINUE };
    for (const state of [UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED]) {
      const service = agent({
        ...{ specVersion: 2, updateStatus: { state } },
        spec: { taskTemplate: { ...image('web:2').taskTemplate, ...never }, updateConfig },
      });
      assert.deepEqual(decided(service, [n2()], [on('n2'), failed]), []);
    }
  });

  it('says which node an update waits for by its name', () => {
    const updateStatus = { state: UpdateState.UPDATING, message: 'update in progress' };
    const service = agent({ specVersion: 2, updateStatus, spec: image('web:2') });
    const waiting = on('n2', {
      ...{ specVersion: 2, spec: image('web:2').taskTemplate, createdAtMs: NOW - 1000 },
      status: { state: TaskState.PENDING, runningAtMs: 0, message: 'no room' },
    });
    const snapshot = snapshotOf({
      services: [service],
      tasks: [waiting],
      nodes: [n2({ spec: { name: 'left' } })],
    });
    const context = { nowMs: NOW, newId: () => 'new' };
    const [change] = planService(snapshot, service.id, context).groups.flat();
    assert.ok(change?.kind === 'service');
    const { updateStatus: said } = change.object;
    assert.equal(said?.message, 'update in progress: web on left waits: no room');
  });

  it('lets an update pass nodes that are down or paused', () => {
    const updateStatus = { state: UpdateState.UPDATING, startedAtMs: NOW };
    const service = agent({ specVersion: 2, updateStatus, spec: image('web:2') });
    const tasks = [on('n2')];
    for (const node of [n2(down), n2(paused)]) {
      assert.deepEqual(decided(service, [node], tasks), ['update service']); // it is over
    }
    assert.deepEqual(decided(service, [n2()], tasks), [
      'n2-1 SHUTDOWN: update to revision 2',
      'n2 +2 READY: update to revision 2',
    ]);
  });

  it('takes no other node for one that was paused after the update had begun there', () => {
    const updateStatus = { state: UpdateState.UPDATING, startedAtMs: NOW };
    const updateConfig = { parallelism: 1, monitorMs: 5000 };
    const service = agent({
      specVersion: 2,
      updateStatus,
      spec: { ...image('web:2'), updateConfig },
    });
    const begun = on('n2', {
      ...{ generation: 2, specVersion: 2, spec: image('web:2').taskTemplate, createdAtMs: NOW },
      status: { state: TaskState.PENDING, runningAtMs: 0 },
    });
    const tasks = [on('n1'), ended(TaskState.SHUTDOWN), begun];
    assert.deepEqual(decided(service, [n1, n2(paused)], tasks), []);
    assert.deepEqual(decided(service, [n1, n2(down)], tasks), [
      'n1-1 SHUTDOWN: update to revision 2',
      'n1 +2 READY: update to revision 2',
    ]);
  });

  it('counts the nodes that are to have one, and the tasks that can be reached', () => {
    const nodes = [n1, n2(down), aNode({ id: 'n3', ...paused }), aNode({ id: 'n4', ...drained })];
    const snapshot = snapshotOf({
      nodes: [...nodes, aNode({ id: 'n5', ...paused })],
      tasks: ['n1', 'n2', 'n3'].map((id) => on(id)),
      services: [agent()],
    });
    const status = serviceStatusOf(snapshot, agent());
    assert.deepEqual(status, { runningTasks: 2, desiredTasks: 2, completedTasks: 0 });
  });
});

function image(name: string) {
  return { taskTemplate: { containerSpec: { image: name } } };
}
