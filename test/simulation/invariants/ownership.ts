import type { Service, Task } from '../../../common/model/objects.js';
import { isTerminal, rankOf } from '../../../common/model/task-state.js';
import { equalData } from '../../../manager/core/equal.js';
import { hasEnded, isAssigned, isLost } from '../../../manager/core/orchestrator/slots.js';
import { LEADER_KEY } from '../../../manager/store/keys.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { Commit } from '../world/truth.js';
import { Violation, type Facts, type Invariant } from './invariant.js';

/** States move forward only and by their owner only, and a deposed leader writes nothing. */
export class Ownership implements Invariant {
  check(commit: Commit, facts: Facts): void {
    for (const change of commit.changes) {
      if (change.kind === 'task') {
        if (change.type === 'delete') checkRemoval(change.object, commit, facts);
        else if (change.previous === undefined) leaderOnly('creates', change.object, commit, facts);
        else checkTask(change.previous, change.object, commit, facts);
      } else if (change.kind === 'service' && change.type === 'put') {
        checkService(change.previous, change.object, commit, facts);
      }
    }
  }
}

function checkTask(before: Task, after: Task, commit: Commit, facts: Facts): void {
  const [from, to] = [before.status.state, after.status.state];
  const what = `task ${nameOf(after)} went from ${from} to ${to}`;
  if (rankOf(to) < rankOf(from)) throw new Violation('forward', what);
  if (isTerminal(from) && to !== from) throw new Violation('final', what);
  if (rankOf(after.desiredState) < rankOf(before.desiredState)) {
    const wishes = `from ${before.desiredState} to ${after.desiredState}`;
    throw new Violation('desired-forward', `${nameOf(after)} is wanted ${wishes}`);
  }
  if (before.nodeId !== '' && after.nodeId !== before.nodeId) {
    throw new Violation('node-fixed', `${nameOf(after)} went from ${before.nodeId}`);
  }
  const isSame = before.specVersion === after.specVersion && equalData(before.spec, after.spec);
  if (!isSame) throw new Violation('spec-fixed', `the spec of ${nameOf(after)} has changed`);
  if (rankOf(from) > rankOf(TaskState.NEW)) {
    const isKept = equalData(before.networksAttachments, after.networksAttachments);
    if (!isKept) throw new Violation('address-fixed', `the addresses of ${nameOf(after)} changed`);
  }
  if (after.desiredState !== before.desiredState) leaderOnly('wants', after, commit, facts);
  if (after.nodeId !== before.nodeId) leaderOnly('places', after, commit, facts);
  if (to !== from) checkNewState(after, commit, facts);
}

const MANAGERS: readonly TaskState[] = [TaskState.PENDING, TaskState.ASSIGNED, TaskState.ORPHANED];

function checkNewState(task: Task, commit: Commit, facts: Facts): void {
  const { state } = task.status;
  if (MANAGERS.includes(state)) {
    leaderOnly(`writes ${state} of`, task, commit, facts);
  } else if (!facts.wasReported(task.nodeId, task.id, state)) {
    throw new Violation('owner', `${task.nodeId} never said that ${nameOf(task)} is ${state}`);
  }
}

/** Only what holds nothing any more goes, or what nobody can wait for. */
function checkRemoval(task: Task, commit: Commit, facts: Facts): void {
  leaderOnly('removes', task, commit, facts);
  const isFree = hasEnded(task) || !isAssigned(task);
  if (isFree || isLost(facts.view, task)) return;
  throw new Violation('reaped-early', `${nameOf(task)} was removed in state ${task.status.state}`);
}

function checkService(
  before: Service | undefined,
  after: Service,
  commit: Commit,
  facts: Facts,
): void {
  const had = before?.endpoint.virtualIps ?? [];
  const isGiven = after.endpoint.virtualIps.some(
    (vip) => !had.some((old) => old.networkId === vip.networkId && old.addr === vip.addr),
  );
  if (isGiven) leaderOnly('gives addresses to', after, commit, facts);
}

function leaderOnly(
  does: string,
  object: Task | Service,
  { writer, revision }: Commit,
  { leader }: Facts,
): void {
  const fence = writer?.transaction.guards.find((g) => g.key === LEADER_KEY);
  const isOfTerm =
    fence === undefined ||
    !('createRevision' in fence) ||
    fence.createRevision === leader?.createRevision;
  if (writer !== undefined && writer.process === leader?.process && isOfTerm) return;
  const who = writer?.process.name ?? 'nobody';
  const name = 'spec' in object && 'slot' in object ? nameOf(object) : object.id;
  throw new Violation(
    'leader-only',
    `${who} ${does} ${name} at revision ${revision}, while ${leader?.process.name ?? 'nobody'} leads`,
  );
}

/** "web.2 (generation 3)" */
export function nameOf(task: Task): string {
  const place = task.slot === 0 ? task.nodeId : String(task.slot);
  return `${task.serviceName}.${place} (generation ${task.generation}, ${task.id.slice(0, 6)})`;
}
