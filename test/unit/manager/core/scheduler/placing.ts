import type { Node, Task } from '../../../../../common/model/objects.js';
import { pendingTasks, planSchedule } from '../../../../../manager/core/scheduler/schedule.js';
import { TaskState, type Task as TaskMessage } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, snapshotOf, T0, type Some } from '../../../../support/builders.js';

/** Tasks of one service that wait for a node, slots from 1. */
export function pending(count: number, some: Some<TaskMessage> = {}): Task[] {
  return Array.from({ length: count }, (_, i) =>
    aTask({ slot: i + 1, status: { state: TaskState.PENDING }, ...some }),
  );
}

export function running(nodeId: string, some: Some<TaskMessage> = {}): Task {
  return aTask({ nodeId, status: { state: TaskState.RUNNING }, ...some });
}

/** Tasks as the plan stores them. */
export function schedule(nodes: readonly Node[], tasks: readonly Task[], nowMs = T0): Task[] {
  const snapshot = snapshotOf({ nodes, tasks });
  const plan = planSchedule(snapshot, pendingTasks(snapshot), nowMs);
  return plan.groups.flat().map((change) => change.object as Task);
}

/** The nodes tasks were given, in order; '' for those that wait. */
export function nodesOf(tasks: readonly Task[]): string[] {
  return tasks.map((t) => t.nodeId).sort();
}

/** What a task is told that waits alone. */
export function messageOf(nodes: readonly Node[], tasks: readonly Task[]): string | undefined {
  return schedule(nodes, tasks).find((t) => t.status.state === TaskState.PENDING)?.status.message;
}

/** n1, n2, … with what differs from aNode for each. */
export function nodes(...some: readonly Some<Parameters<typeof aNode>[0]>[]): Node[] {
  return some.map((one, i) => aNode({ id: `n${i + 1}`, ...one }));
}

/** A node with labels, for `nodes`. */
export function labelled(labels: Record<string, string>): Some<Parameters<typeof aNode>[0]> {
  return { spec: { labels } };
}
