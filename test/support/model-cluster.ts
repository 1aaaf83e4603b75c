import assert from 'node:assert/strict';
import { newId } from '../../common/model/ids.js';
import type { Node, Service, Task } from '../../common/model/objects.js';
import { placeName, placeOf } from '../../common/model/task-place.js';
import { checkTransition, isTerminal, isWanted, rankOf } from '../../common/model/task-state.js';
import type { Random } from '../../common/random.js';
import {
  planAllocation,
  type AddressCursors,
} from '../../manager/core/allocator/plan-allocation.js';
import { planService } from '../../manager/core/orchestrator/plan-service.js';
import { isAssigned } from '../../manager/core/orchestrator/slots.js';
import { planReap } from '../../manager/core/plan-reap.js';
import type { PlanContext } from '../../manager/core/plan-context.js';
import { pendingTasks, planSchedule } from '../../manager/core/scheduler/schedule.js';
import type { Change, Kind, ObjectOfKind, Plan } from '../../manager/core/snapshot.js';
import { deepFreeze } from '../../manager/store/codec.js';
import { keyOf, uniqueNameOf } from '../../manager/store/keys.js';
import { View, type ViewEvent } from '../../manager/view/view.js';
import { NodeState, TaskState, type TaskStatus } from '../../proto/gen/hatoba/v1/types.js';
import { aCluster, aNetwork, aNode, T0 } from './builders.js';
import { seededRandom } from './seeded-random.js';

/** What the fake agents do to tasks. */
export interface Faults {
  /** Chance per step that a running task fails. */
  crash: number;
  /** Images that no registry has. */
  brokenImages: readonly string[];
  /** Images whose containers never get healthy but fail. */
  sickImages: readonly string[];
  /** How long a task of a job takes to end well. */
  jobMs: number;
}

interface Host {
  /** Powered on, with an agent. */
  up: boolean;
  /** Can reach the managers. */
  connected: boolean;
  /** Since when the managers have not heard of it. */
  silentSinceMs: number;
  /** Task ids of the containers that run here. */
  containers: Set<string>;
}

export const STEP_MS = 500;
const DOWN_AFTER_MS = 3000;

/**
 * A whole cluster in memory: the real planners on a real view, agents that move tasks on one state
 * per step, hosts that crash and get cut off, a clock that moves by steps. Everything follows from
 * the seed. Every write is checked against the rules that always hold.
 */
export class ModelCluster {
  readonly view = new View();
  readonly random: Random;
  readonly faults: Faults = { crash: 0, brokenImages: [], sickImages: [], jobMs: 2000 };
  nowMs = T0;
  /** Looks at the cluster after each write of the control loops. */
  onWrite: () => void = () => undefined;
  readonly #hosts = new Map<string, Host>();
  #revision = 1;
  #cursors: AddressCursors = new Map();

  constructor(options: { seed?: number; nodes?: number; historyLimit?: number } = {}) {
    const { seed = 1, nodes = 3, historyLimit = 5 } = options;
    this.random = seededRandom(seed);
    this.put('cluster', aCluster({ spec: { taskHistoryLimit: historyLimit } }));
    this.put('network', aNetwork({ spec: { name: 'ingress', ingress: true } }));
    for (let i = 1; i <= nodes; i++) this.addNode(aNode({ id: `n${i}` }));
    this.settle();
  }

  get context(): PlanContext {
    return { nowMs: this.nowMs, newId: () => newId(this.random) };
  }

  addNode(node: Node): void {
    this.#hosts.set(node.id, {
      up: true,
      connected: true,
      silentSinceMs: Infinity,
      containers: new Set(),
    });
    this.put('node', node);
  }

  /** Stores an object as it is, created or replaced. */
  put<K extends Kind>(kind: K, object: ObjectOfKind[K]): void {
    const stored = { ...object, version: ++this.#revision, updatedAtMs: this.nowMs };
    const event: unknown = { type: 'put', key: keyOf(kind, stored), kind, object: stored };
    deepFreeze(stored);
    this.view.apply(this.#revision, [event as ViewEvent]);
  }

  service(name = 'web'): Service {
    return this.view.findByPrefix('service', name);
  }

  tasks(name = 'web'): readonly Task[] {
    return this.view.tasksOfService(this.service(name).id);
  }

  running(name = 'web'): Task[] {
    return this.tasks(name).filter(
      (t) => t.status.state === TaskState.RUNNING && t.desiredState === TaskState.RUNNING,
    );
  }

  /** Whether the managers hear of the node. */
  isUp(nodeId: string): boolean {
    return this.view.node(nodeId)?.status.state === NodeState.READY;
  }

  /** Ids of tasks that have a container somewhere, reachable or not. */
  containers(): string[] {
    return [...this.#hosts.values()].flatMap((h) => [...h.containers]);
  }

  // ---- hosts ---------------------------------------------------------------------------------

  /** Power loss: all of its containers are gone. */
  kill(nodeId: string): void {
    const host = this.#host(nodeId);
    host.up = false;
    host.containers.clear();
    host.silentSinceMs = this.nowMs;
  }

  start(nodeId: string): void {
    const host = this.#host(nodeId);
    host.up = true;
    host.connected = true;
  }

  partition(nodeId: string): void {
    const host = this.#host(nodeId);
    host.connected = false;
    host.silentSinceMs = this.nowMs;
  }

  heal(nodeId: string): void {
    this.#host(nodeId).connected = true;
  }

  #host(nodeId: string): Host {
    const host = this.#hosts.get(nodeId);
    assert.ok(host, `no host ${nodeId}`);
    return host;
  }

  // ---- time ----------------------------------------------------------------------------------

  /** Agents, then time, then the control loops until they have nothing to do. */
  step(): void {
    for (const [nodeId, host] of this.#hosts) this.#stepHost(nodeId, host);
    this.nowMs += STEP_MS;
    this.settle();
  }

  run(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end;) this.step();
  }

  /** @throws when it is not so after `limitMs` */
  runUntil(holds: () => boolean, what: string, limitMs = 120_000): void {
    const end = this.nowMs + limitMs;
    while (!holds()) {
      assert.ok(this.nowMs < end, `not so after ${limitMs} ms: ${what}\n${this.show()}`);
      this.step();
    }
  }

  /** All control loops, until none of them has anything to write at this time. */
  settle(): void {
    for (let round = 0; this.control() > 0; round++) {
      assert.ok(round < 50, `the loops keep writing\n${this.show()}`);
    }
  }

  /** Each control loop once. @returns how many groups were written */
  control(): number {
    const { view, nowMs } = this;
    let written = 0;
    for (const service of [...view.services()]) {
      written += this.apply(planService(view, service.id, this.context));
    }
    const allocation = planAllocation(view, nowMs, this.#cursors);
    this.#cursors = allocation.cursors;
    written += this.apply(allocation.plan);
    written += this.apply(planSchedule(view, pendingTasks(view), nowMs));
    return written + this.apply(planReap(view, nowMs));
  }

  // ---- writes --------------------------------------------------------------------------------

  /** Applies a plan as manager/store/write.ts does; there is no one else to conflict with. */
  apply(plan: Plan): number {
    if (plan.groups.length > 1) {
      for (const guard of plan.guards ?? []) this.#checkVersion(guard.kind, guard.object);
    }
    const touched = new Set<string>();
    for (const group of plan.groups) {
      assert.ok(group.length > 0 && group.length <= 100, `a group of ${group.length} changes`);
      for (const change of group) {
        const key = keyOf(change.kind, change.object);
        assert.ok(!touched.has(key), `two changes of ${key} in one plan`);
        touched.add(key);
        this.#checkChange(change);
      }
      this.#revision++;
      this.view.apply(
        this.#revision,
        group.map((change) => this.#event(change)),
      );
    }
    if (plan.groups.length > 0) this.onWrite();
    return plan.groups.length;
  }

  #event({ action, kind, object }: Change): ViewEvent {
    const key = keyOf(kind, object);
    if (action === 'remove') return { type: 'delete', key };
    const stored = deepFreeze({ ...object, version: this.#revision, updatedAtMs: this.nowMs });
    return { type: 'put', key, kind, object: stored } as ViewEvent;
  }

  #current(kind: Kind, id: string): ObjectOfKind[Kind] | undefined {
    if (kind === 'cluster') return this.view.cluster();
    if (kind === 'revision') return [...this.view.revisions()].find((r) => r.id === id);
    if (kind === 'attachment') return [...this.view.attachments()].find((a) => a.id === id);
    return this.view[kind](id);
  }

  #checkVersion(kind: Kind, object: ObjectOfKind[Kind]): void {
    assert.equal(this.#current(kind, object.id)?.version, object.version, `${kind} is outdated`);
  }

  #checkChange({ action, kind, object }: Change): void {
    if (action === 'create') {
      assert.equal(this.#current(kind, object.id), undefined, `${kind} ${object.id} exists`);
      const name = uniqueNameOf(kind, object);
      if (name !== undefined) assert.equal(this.view.findByName(kind, name), undefined, name);
      if (kind === 'task') this.#checkTaskKey(object);
      return;
    }
    this.#checkVersion(kind, object);
    if (kind === 'task' && action === 'update') this.#checkTask(object);
  }

  #checkTaskKey(task: Task): void {
    const twin = this.view
      .tasksOfService(task.serviceId)
      .find((t) => placeOf(t) === placeOf(task) && t.generation === task.generation);
    assert.equal(twin, undefined, `${placeName(task)} has generation ${task.generation} already`);
  }

  #checkTask(task: Task): void {
    const before = this.view.task(task.id);
    assert.ok(before);
    checkTransition(before.status.state, task.status.state);
    assert.ok(rankOf(task.desiredState) >= rankOf(before.desiredState), 'desired state went back');
    if (before.nodeId !== '') assert.equal(task.nodeId, before.nodeId, 'a task changed its node');
  }

  // ---- agents --------------------------------------------------------------------------------

  #stepHost(nodeId: string, host: Host): void {
    const node = this.view.node(nodeId);
    if (node === undefined) return;
    const heard = host.up && host.connected;
    if (!heard) {
      const silentMs = this.nowMs - host.silentSinceMs;
      if (silentMs >= DOWN_AFTER_MS) this.#setNodeState(node, NodeState.DOWN);
      return;
    }
    this.#setNodeState(node, NodeState.READY);
    const tasks = this.view.tasksOfNode(nodeId).filter(isAssigned);
    const known = new Set(tasks.map((t) => t.id));
    for (const id of host.containers) if (!known.has(id)) host.containers.delete(id);
    for (const task of tasks) this.#stepTask(task, host);
  }

  #setNodeState(node: Node, state: NodeState): void {
    if (node.status.state === state) return;
    this.put('node', { ...node, status: { ...node.status, state, stateChangedAtMs: this.nowMs } });
  }

  #stepTask(task: Task, host: Host): void {
    const { state } = task.status;
    if (isTerminal(state)) {
      host.containers.delete(task.id);
      return;
    }
    const hadContainer = rankOf(state) >= rankOf(TaskState.STARTING);
    if (!isWanted(task.desiredState)) {
      host.containers.delete(task.id);
      this.#report(task, { state: TaskState.SHUTDOWN });
    } else if (hadContainer && !host.containers.has(task.id)) {
      this.#report(task, { state: TaskState.FAILED, err: 'the machine was switched off' });
    } else {
      this.#advance(task, host);
    }
  }

  #advance(task: Task, host: Host): void {
    const { image } = task.spec.containerSpec;
    switch (task.status.state) {
      case TaskState.ASSIGNED:
        this.#report(task, { state: TaskState.ACCEPTED });
        return;
      case TaskState.ACCEPTED:
        this.#report(task, { state: TaskState.PREPARING });
        return;
      case TaskState.PREPARING:
        if (this.faults.brokenImages.includes(image)) {
          this.#report(task, { state: TaskState.REJECTED, err: `image "${image}" not found` });
        } else this.#report(task, { state: TaskState.READY });
        return;
      case TaskState.READY:
        if (task.desiredState === TaskState.READY) return;
        host.containers.add(task.id);
        this.#report(task, { state: TaskState.STARTING });
        return;
      case TaskState.STARTING:
        if (this.faults.sickImages.includes(image)) this.#fail(task, host, 'unhealthy container');
        else this.#report(task, { state: TaskState.RUNNING, runningAtMs: this.nowMs });
        return;
      default:
        this.#goOn(task, host);
    }
  }

  /** Of a task that runs. */
  #goOn(task: Task, host: Host): void {
    const isOver = this.nowMs >= task.status.runningAtMs + this.faults.jobMs;
    if (this.random.next() < this.faults.crash) this.#fail(task, host, 'exit code 1');
    else if (task.desiredState === TaskState.COMPLETE && isOver) {
      host.containers.delete(task.id);
      this.#report(task, { state: TaskState.COMPLETE });
    }
  }

  #fail(task: Task, host: Host, err: string): void {
    host.containers.delete(task.id);
    this.#report(task, { state: TaskState.FAILED, err });
  }

  #report(task: Task, status: Partial<TaskStatus>): void {
    const object = {
      ...task,
      status: { ...task.status, ...status, timestampMs: this.nowMs } as Task['status'],
    };
    this.#checkTask(object);
    this.put('task', object);
  }

  /** For messages of failed tests. */
  show(): string {
    const lines = [...this.view.tasks()].map(
      (t) =>
        `  ${placeName(t)} g${t.generation} v${t.specVersion} ${t.nodeId} ` +
        `${t.status.state} (desired ${t.desiredState}) ${t.status.err || t.status.message}`,
    );
    const services = [...this.view.services()].map(
      (s) => `  ${s.spec.name} v${s.specVersion} ${JSON.stringify(s.updateStatus)}`,
    );
    return [`at ${this.nowMs - T0} ms`, ...services, ...lines].join('\n');
  }
}
