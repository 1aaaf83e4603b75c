import type { Service, Task } from '../../../common/model/objects.js';
import { isTerminal, isWanted } from '../../../common/model/task-state.js';
import { NodeState, PlacementStrategy } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../snapshot.js';
import { Candidates } from './candidates.js';
import { staticChecks } from './filters/static-filters.js';
import { passesAll } from './filters/check.js';
import { NodeView } from './node-view.js';
import { pickerFor } from './picker.js';
import { requestOf } from './request.js';
import { SchedulerState } from './state.js';
import { crowdingsOf } from './wishes.js';

/** Moving a task is worth it from this difference on: one less would only swap the two places. */
const WORTH_A_MOVE = 2;
/** Tasks that are tried, those of the fullest places first. */
const MAX_TRIES = 4;

/** A task that would be better off on another node. */
export interface Move {
  readonly task: Task;
  /** Where the scheduler would place it now. */
  readonly nodeId: string;
}

/**
 * Whether moving one task of a service would even out its spread, and which: of the node (of the
 * zone, where zones are spread over) that has the most, the youngest. It is what the scheduler
 * itself would then place so: a task is moved only if its new node has at least two tasks fewer, so
 * no move is ever taken back by the next one.
 *
 * It costs a look at the service's tasks and the nodes; at all tasks of the cluster only when
 * counts differ enough.
 * @returns undefined when all is even, or as even as it can be
 */
export function pickMove(snapshot: Snapshot, service: Service, nowMs: number): Move | undefined {
  const { placement } = service.spec.taskTemplate;
  if (placement.strategy === PlacementStrategy.BINPACK) return undefined;
  const tasks = snapshot.tasksOfService(service.id).filter((t) => isSettled(snapshot, t));
  const [first] = tasks;
  if (first === undefined || !mayBeUneven(snapshot, first, tasks)) return undefined;
  const state = SchedulerState.of(snapshot);
  for (const task of candidatesToMove(tasks, state)) {
    const nodeId = betterNode(task, state, nowMs);
    if (nodeId !== undefined) return { task, nodeId };
  }
  return undefined;
}

/** Tasks that are where they are to stay; those of nodes that are gone are moved by others. */
function isSettled(snapshot: Snapshot, task: Task): boolean {
  return (
    task.slot > 0 &&
    isWanted(task.desiredState) &&
    !isTerminal(task.status.state) &&
    snapshot.node(task.nodeId)?.status.state === NodeState.READY
  );
}

/** Whether two nodes that could have the tasks differ enough in how many they have. */
function mayBeUneven(snapshot: Snapshot, first: Task, tasks: readonly Task[]): boolean {
  const counts = new Map<string, number>();
  for (const { nodeId } of tasks) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  const most = Math.max(...counts.values());
  const { preferences, spreads } = first.spec.placement;
  // Where labels are spread over, a node may be worth leaving with a single task of the service.
  const enough = preferences.length + spreads.length > 0 ? 1 : most - WORTH_A_MOVE + 1;
  if (enough < 1) return false;
  const checks = staticChecks(requestOf(first));
  for (const node of snapshot.nodes()) {
    const count = counts.get(node.id) ?? 0;
    if (count < enough && passesAll(checks, new NodeView(node))) return true;
  }
  return false;
}

/** The youngest task of each node, those of the fullest places first. */
function candidatesToMove(tasks: readonly Task[], state: SchedulerState): Task[] {
  const youngest = new Map<string, Task>();
  for (const task of tasks) {
    const there = youngest.get(task.nodeId);
    if (there === undefined || there.createdAtMs <= task.createdAtMs) {
      youngest.set(task.nodeId, task);
    }
  }
  return [...youngest.values()]
    .map((task) => ({ task, crowd: crowdOf(task, task.nodeId, state) }))
    .sort((a, b) => compareCrowds(b.crowd, a.crowd))
    .slice(0, MAX_TRIES)
    .map(({ task }) => task);
}
/** Where the scheduler would place the task if it were not there, if that is better. */
function betterNode(task: Task, state: SchedulerState, nowMs: number): string | undefined {
  const view = state.without([task], () => {
    const candidates = new Candidates(state.requestOf(task), state, nowMs);
    return pickerFor(candidates, 1).best();
  });
  if (view === undefined) return undefined;
  const here = crowdOf(task, task.nodeId, state);
  return isWorthIt(here, crowdOf(task, view.node.id, state)) ? view.node.id : undefined;
}

/**
 * How many tasks of the service are where a node is: on the values of its labels that are spread
 * over, the outermost first, and on the node itself.
 */
function crowdOf(task: Task, nodeId: string, state: SchedulerState): number[] {
  const view = state.nodes.get(nodeId);
  if (view === undefined) return [];
  const crowdings = crowdingsOf(state.requestOf(task), state);
  return [...crowdings.map((c) => c.on(view)), view.tasksOfService(task.serviceId)];
}

/** What differs first decides: a zone too full is worth a node that is less so. */
function isWorthIt(here: readonly number[], there: readonly number[]): boolean {
  for (const [i, count] of here.entries()) {
    const difference = count - (there[i] ?? 0);
    if (difference !== 0) return difference >= WORTH_A_MOVE;
  }
  return false;
}

function compareCrowds(a: readonly number[], b: readonly number[]): number {
  for (const [i, count] of a.entries()) {
    const difference = count - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
