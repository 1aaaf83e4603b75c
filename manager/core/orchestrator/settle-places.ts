import type { Task } from '../../../common/model/objects.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import type { ServiceDraft } from './draft.js';
import { subjectOf } from './endings.js';
import type { Slot } from './slots.js';
import { causeOfUpdate } from './update-words.js';
import { furthest, isAlive, isProven, leaveReasonOf, worthOf } from './worth.js';

/**
 * Leaves one task to each place that has more than it needs. Two share a place while one is to take
 * over from the other: an update or a move that starts the new one first, the replacement of a task
 * whose node is lost. As soon as one has proven that it runs, none is kept that is worth no more: the
 * old one goes when the new one serves, and the new one is given up when the old one may stay after
 * all, because its node is back or no longer drained. So nothing that is alive is stopped for
 * something that only might be.
 */
export function settlePlaces(draft: ServiceDraft): void {
  for (const slot of draft.slots()) settle(draft, slot);
}

function settle(draft: ServiceDraft, slot: Slot): void {
  if (slot.tasks.length < 2) return;
  const alive = slot.tasks.filter(isAlive);
  if (alive.length < 2) return;
  const worth = new Map(alive.map((t) => [t, worthOf(draft, t)]));
  const proven = alive.filter((t) => draft.serves(t) && isProven(draft, t));
  const server = mostWorth(proven, worth);
  const better = alive.filter((t) => server === undefined || isWorthMore(worth, t, server));
  const hope = mostWorth(better, worth);
  const rest = alive.filter((t) => hope === undefined || isWorthMore(worth, hope, t));
  const keep = [hope, server ?? furthest(rest)];
  for (const task of alive) {
    if (keep.includes(task)) continue;
    draft.setDesired(task, TaskState.SHUTDOWN, dropReason(draft, task, server ?? hope));
  }
}

type Worth = ReadonlyMap<Task, number>;

function isWorthMore(worth: Worth, a: Task, b: Task): boolean {
  return (worth.get(a) ?? 0) > (worth.get(b) ?? 0);
}

/** Of those worth most, the one that is furthest. */
function mostWorth(tasks: readonly Task[], worth: Worth): Task | undefined {
  const most = Math.max(...tasks.map((t) => worth.get(t) ?? 0));
  return furthest(tasks.filter((t) => worth.get(t) === most));
}

function dropReason(draft: ServiceDraft, task: Task, kept: Task | undefined): string {
  const isDirty = draft.comparison.isDirty(task);
  if (isDirty && task.specVersion !== kept?.specVersion) return causeOfUpdate(draft.service);
  const reason = leaveReasonOf(draft, task);
  if (reason !== undefined || kept === undefined) return reason ?? 'not needed any more';
  const node = draft.snapshot.node(kept.nodeId);
  const where = node === undefined ? '' : ` on ${nodeLabel(node)}`;
  return `not needed any more: ${subjectOf(kept)} still runs${where}`;
}
