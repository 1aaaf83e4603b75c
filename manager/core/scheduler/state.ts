import type { Node, Task } from '../../../common/model/objects.js';
import type { Snapshot } from '../snapshot.js';
import type { ServiceAffinity } from './affinity.js';
import { Counters, type CountOf, type Repeller, type TopologyCounter } from './counters.js';
import { NodeIndex } from './node-index.js';
import type { NodeView } from './node-view.js';
import { repelsOf, requestOf, type PlacementRequest } from './request.js';
import { classOf, standingOf, type Standing } from './standing.js';

/** More classes than that are not remembered: they are worked out again. */
const MAX_CLASSES = 20_000;

const NO_AFFINITIES: readonly ServiceAffinity[] = [];

/**
 * What the scheduler knows of the cluster: nodes with what is free on them, pending tasks, counters
 * by topology. It is fed with changes of tasks and nodes, so that a pass costs what is pending
 * rather than all that is there; and with placements as they are made, so that the next one rests
 * on them.
 * 1. It depends on what tasks and nodes there are alone, not on the order in which they came.
 * 2. Putting a task replaces what was known of it, so a placement that was never written is
 *    forgotten by putting the task as it is stored.
 */
export class SchedulerState {
  readonly nodes = new NodeIndex();
  /** As they are counted. */
  readonly #tasks = new Map<string, Task>();
  readonly #pending = new Map<string, Task>();
  /** Tasks on nodes that are not there, by node and id. */
  readonly #homeless = new Map<string, Map<string, Task>>();
  readonly #counters = new Counters();
  readonly #requests = new Map<string, PlacementRequest>();
  readonly #repels = new Map<string, readonly ServiceAffinity[]>();
  /** Those that hold something of a node that is there, by service and id. */
  readonly #ofService = new Map<string, Map<string, Task>>();
  /** priority → tasks of it on nodes. */
  readonly #priorities = new Map<number, number>();

  static of(snapshot: Snapshot): SchedulerState {
    const state = new SchedulerState();
    for (const node of snapshot.nodes()) state.putNode(node);
    for (const task of snapshot.tasks()) state.putTask(task);
    return state;
  }

  // ---- what there is -------------------------------------------------------------------------

  /** Tasks that wait for a node, or for the word that their node has room. */
  pending(): Task[] {
    return [...this.#pending.values()];
  }

  isPending(task: Task): boolean {
    return this.#pending.has(task.id);
  }

  requestOf(task: Task): PlacementRequest {
    const key = classOf(task);
    const known = this.#requests.get(key);
    if (known !== undefined) return known;
    if (this.#requests.size >= MAX_CLASSES) this.#requests.clear();
    const request = requestOf(task);
    this.#requests.set(key, request);
    return request;
  }

  counter(of: CountOf): TopologyCounter {
    return this.#counters.get(of, (counter) => {
      const { serviceId } = of;
      const groups = serviceId === undefined ? this.#ofService.values() : [this.#of(serviceId)];
      for (const tasks of groups) {
        for (const task of tasks.values()) {
          const view = this.nodes.get(task.nodeId);
          if (view !== undefined && of.isMeant(task)) counter.count(task, view, 1);
        }
      }
    });
  }

  /** Anti-affinities of tasks that are there. */
  repellers(): Iterable<Repeller> {
    return this.#counters.repellers;
  }

  /** Whether any task on a node has a lower priority. */
  hasTasksBelow(priority: number): boolean {
    for (const there of this.#priorities.keys()) if (there < priority) return true;
    return false;
  }

  // ---- changes -------------------------------------------------------------------------------

  putNode(node: Node): void {
    const members = this.#takeOut(node.id);
    const view = this.nodes.put(node);
    for (const task of members) this.#join(task, view);
  }

  deleteNode(nodeId: string): void {
    const members = this.#takeOut(nodeId);
    this.nodes.delete(nodeId);
    for (const task of members) this.#membersOf(nodeId).set(task.id, task);
  }

  putTask(task: Task): void {
    const former = this.#tasks.get(task.id);
    this.#tasks.set(task.id, task);
    const standing = standingOf(task);
    if (former === undefined) {
      this.#enter(task, standing);
      return;
    }
    const formerStanding = standingOf(former);
    const holdsSame = standing === formerStanding && former.nodeId === task.nodeId;
    if (holdsSame && standing !== 'failed') this.#refresh(task, standing);
    else {
      this.#leave(former, formerStanding);
      this.#enter(task, standing);
    }
  }

  deleteTask(id: string): void {
    const former = this.#tasks.get(id);
    if (former === undefined) return;
    this.#leave(former);
    this.#tasks.delete(id);
  }

  /** What would be if these tasks were not there. */
  without<T>(tasks: readonly Task[], look: () => T): T {
    for (const task of tasks) this.#leave(task);
    const result = look();
    for (const task of tasks) this.#enter(task);
    return result;
  }

  /** It holds what it held: only the object is another one. */
  #refresh(task: Task, standing: Standing): void {
    if (standing === 'pending') this.#pending.set(task.id, task);
    else if (standing !== 'none') {
      this.#membersOf(task.nodeId).set(task.id, task);
      const ofService = this.#ofService.get(task.serviceId);
      if (ofService?.has(task.id) === true) ofService.set(task.id, task);
    }
  }

  #enter(task: Task, standing = standingOf(task)): void {
    if (standing === 'none') return;
    const view = this.nodes.get(task.nodeId);
    if (standing === 'pending') this.#pending.set(task.id, task);
    else if (view !== undefined) this.#join(task, view, standing);
    else this.#membersOf(task.nodeId).set(task.id, task);
  }

  #leave(task: Task, standing = standingOf(task)): void {
    if (standing === 'none') return;
    const view = this.nodes.get(task.nodeId);
    if (standing === 'pending') this.#pending.delete(task.id);
    else if (view !== undefined) this.#part(task, view, standing);
    else this.#homeless.get(task.nodeId)?.delete(task.id);
  }

  /** Tasks on a node, which from now on are on none. */
  #takeOut(nodeId: string): Task[] {
    const view = this.nodes.get(nodeId);
    const members = [...this.#membersOf(nodeId).values()];
    if (view !== undefined) for (const task of members) this.#part(task, view);
    this.#homeless.delete(nodeId);
    return members;
  }

  #membersOf(nodeId: string): Map<string, Task> {
    const view = this.nodes.get(nodeId);
    if (view !== undefined) return view.members;
    const members = this.#homeless.get(nodeId) ?? new Map<string, Task>();
    this.#homeless.set(nodeId, members);
    return members;
  }

  #join(task: Task, view: NodeView, standing = standingOf(task)): void {
    view.add(task, standing);
    this.#count(task, view, 1, standing);
  }

  #part(task: Task, view: NodeView, standing = standingOf(task)): void {
    view.remove(task, standing);
    this.#count(task, view, -1, standing);
  }

  #count(task: Task, view: NodeView, sign: 1 | -1, standing: Standing): void {
    if (standing === 'failed') return;
    this.nodes.touch(view);
    this.#list(task, sign);
    this.#counters.count(task, view, sign, this.#repelsOf(task));
    const { priority } = task.spec;
    const ofPriority = (this.#priorities.get(priority) ?? 0) + sign;
    if (ofPriority === 0) this.#priorities.delete(priority);
    else this.#priorities.set(priority, ofPriority);
  }

  #list(task: Task, sign: 1 | -1): void {
    const tasks = this.#of(task.serviceId);
    if (sign === 1) {
      if (tasks.size === 0) this.#ofService.set(task.serviceId, tasks);
      tasks.set(task.id, task);
    } else if (tasks.delete(task.id) && tasks.size === 0) this.#ofService.delete(task.serviceId);
  }

  #of(serviceId: string): Map<string, Task> {
    return this.#ofService.get(serviceId) ?? new Map<string, Task>();
  }

  #repelsOf(task: Task): readonly ServiceAffinity[] {
    if (task.spec.placement.affinities.length === 0) return NO_AFFINITIES;
    const key = classOf(task);
    const repels = this.#repels.get(key) ?? repelsOf(task);
    this.#repels.set(key, repels);
    return repels;
  }
}
