import type { Task } from '../../common/model/objects.js';
import { placeOf } from '../../common/model/task-place.js';
import { formatTable } from './listing.js';
import type { TaskRow } from './rows.js';
import { endReasonOf, stateOf, waitingFor } from './task-rows.js';

/** Those of the same place as `task`, itself among them, in the order they come. */
export function ofSamePlace(task: Task, tasks: readonly Task[]): Task[] {
  const place = placeOf(task);
  return tasks.filter((t) => t.serviceId === task.serviceId && placeOf(t) === place);
}

/**
 * One task for people: what it is, what it waits for, and all that stood in its place before, with
 * why each was made and why it ended.
 * @param history of its place, in order of generation
 */
export function taskText(task: TaskRow, history: readonly TaskRow[]): string {
  const lines: readonly [string, string][] = [
    ['Task', `${task.name} (${task.id})`],
    ['Service', `${task.service}, revision ${task.revision}`],
    ['Image', task.image],
    ['Node', task.node === '' ? 'none yet' : task.node],
    ['State', stateOf(task)],
    ['Desired', withReason(task.desiredState, task.desiredReason)],
    ['Made', withReason(task.createdAt ?? '', task.cause)],
    ['Waits for', waitingFor(task)],
    ['Error', task.error],
    ['Exit code', task.exitCode === null ? '' : String(task.exitCode)],
    ['Addresses', task.addresses.map((a) => `${a.network}=${a.ip}`).join(' ')],
    ['Container', task.containerId],
  ];
  const shown = lines.filter(([, value]) => value !== '');
  return [
    ...shown.map(([title, value]) => `${`${title}:`.padEnd(12)}${value}`),
    '',
    'History of its place, the newest first:',
    historyTable(history),
  ].join('\n');
}

function historyTable(history: readonly TaskRow[]): string {
  return formatTable(
    ['ID', 'REVISION', 'NODE', 'STATE', 'MADE BECAUSE', 'ENDED BECAUSE', 'ERROR'],
    history
      .toReversed()
      .map((t) => [
        ...[t.id.slice(0, 12), String(t.revision), t.node, stateOf(t)],
        ...[t.cause, endReasonOf(t), t.error],
      ]),
  );
}

function withReason(text: string, reason: string): string {
  return reason === '' ? text : `${text} (${reason})`;
}
