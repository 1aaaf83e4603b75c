import { toWord } from '../common/model/words.js';
import { placeName, placeOf } from '../common/model/task-place.js';
import { endedByItself, isTerminal, isWanted } from '../common/model/task-state.js';
import type { Service, Task } from '../common/model/objects.js';
import { completionsOf, isJobMode } from '../common/model/service-modes.js';
import { TaskState, UpdateState, type UpdateStatus } from '../proto/gen/hatoba/v1/types.js';
import { getService, listTasks } from './api.js';
import { NotConvergedError } from './failure.js';
import { Progress } from './output/progress.js';
import { pause } from './pause.js';
import type { Session } from './session.js';

const POLL_MS = 100;
/** How often all tasks of a service that is under way are looked at, for reasons to give up. */
const LOOK_AT_TASKS_MS = 1000;
/** A task that cannot be placed is given this long before waiting is called hopeless. */
const UNPLACEABLE_MS = 5000;
/** So many dead tasks of one slot, and none running, mean that the service does not start. */
const HOPELESS_FAILURES = 2;
/**
 * One task of a service has to live so long before its start counts: what ends at once was running, too,
 * for a moment.
 */
const STEADY_MS = 1000;
/** So long ago by the clock of a node is long enough by any. */
const CLOCKS_DIFFER_MS = 5000;
/** A task that ended so long ago and still has no successor will have none. */
const ABANDONED_MS = 2000;

/**
 * Waits until every service runs as many tasks of its present spec as it should and its update is
 * over, and every job has completed, showing progress on stderr.
 * @param options.rollbackFails whether an update that is rolled back meanwhile is a failure
 * @throws {NotConvergedError} with the reason for each service, when one cannot get there or the
 * time is over
 */
export async function waitForServices(
  session: Session,
  serviceIds: readonly string[],
  options: { timeoutMs: number; rollbackFails?: boolean },
): Promise<void> {
  const startedAtMs = Date.now();
  const deadline = startedAtMs + options.timeoutMs;
  // the manager is on this machine, so both read the same clock
  const unwantedAfterMs = options.rollbackFails === true ? startedAtMs : Infinity;
  const progress = new Progress(process.stderr);
  const steadiness = new Steadiness();
  let lookAtTasksAtMs = startedAtMs;
  for (;;) {
    const withTasks = Date.now() >= lookAtTasksAtMs;
    if (withTasks) lookAtTasksAtMs = Date.now() + LOOK_AT_TASKS_MS;
    const states = await Promise.all(
      serviceIds.map((id) => judge(session, id, { unwantedAfterMs, withTasks, steadiness })),
    );
    progress.show(new Map(states.map((s) => [s.name, `${s.name.padEnd(24)} ${s.line}`])));
    if (states.every((s) => s.verdict === 'converged')) return;
    const hopeless = states.filter((s) => s.verdict === 'hopeless');
    const open = states.filter((s) => s.verdict !== 'converged');
    if (hopeless.length > 0) throw notConverged(hopeless);
    if (Date.now() > deadline) throw notConverged(open);
    await pause(POLL_MS, session.signal);
  }
}

interface Judgement {
  name: string;
  verdict: 'converged' | 'waiting' | 'hopeless';
  line: string;
  reasons: readonly string[];
}

async function judge(
  session: Session,
  id: string,
  options: { unwantedAfterMs: number; withTasks: boolean; steadiness: Steadiness },
): Promise<Judgement> {
  const { unwantedAfterMs, withTasks, steadiness } = options;
  const service = await getService(session, id);
  // The service counts its tasks itself. Asking for a hundred of them at every turn would take the
  // time from what is waited for, on a machine that is both manager and node.
  const needsTasks = withTasks || (!isJobMode(service.spec.mode) && hasEnough(service));
  const tasks = needsTasks ? await listTasks(session, { service: id, history: true }) : [];
  const rollback = service.updateStatus;
  if (
    rollback?.state === UpdateState.ROLLBACK_COMPLETED &&
    rollback.completedAtMs >= unwantedAfterMs
  ) {
    const { name } = service.spec;
    return { name, verdict: 'hopeless', line: 'rolled back', reasons: [rollback.message] };
  }
  const nowMs = Date.now();
  return judgeService(service, tasks, { nowMs, isSteady: steadiness.look(tasks, nowMs) });
}

/** Tells tasks that run from those that have only been started. */
export class Steadiness {
  readonly #seenAtMs = new Map<string, number>();

  /** Whether one of these tasks of a service has run for a while, or none is to run. */
  look(tasks: readonly Task[], nowMs: number): boolean {
    const wanted = tasks.filter((t) => isWanted(t.desiredState));
    const newest = Math.max(...wanted.map((t) => t.specVersion));
    const running = wanted.filter(
      ({ status, specVersion }) => status.state === TaskState.RUNNING && specVersion === newest,
    );
    const isOld = running.some((t) => this.#ageMs(t, nowMs) >= STEADY_MS);
    return isOld || wanted.every((t) => isTerminal(t.status.state));
  }

  #ageMs({ id, status }: Task, nowMs: number): number {
    const sinceMs = this.#seenAtMs.get(id) ?? nowMs;
    this.#seenAtMs.set(id, sinceMs);
    return nowMs - status.runningAtMs > CLOCKS_DIFFER_MS ? STEADY_MS : nowMs - sinceMs;
  }
}

/** Whether a service has got where it should, from what the manager says of it. */
export function judgeService(
  service: Service,
  tasks: readonly Task[],
  { nowMs, isSteady }: { nowMs: number; isSteady: boolean },
): Judgement {
  const { name, mode } = service.spec;
  if (isJobMode(mode)) return { name, ...judgeJob(service, tasks, nowMs) };
  const { runningTasks: running = 0, desiredTasks: desired = 0 } = service.serviceStatus ?? {};
  const line = `${running}/${desired} running`;
  const update = service.updateStatus && judgeUpdate(service.updateStatus, line);
  if (update !== undefined) return { name, ...update };
  // A global service has tasks on nodes that are down, which are none of those desired now.
  const hasTooMany = mode.$case === 'replicated' && countWanted(tasks) > desired;
  const isThere = hasEnough(service) && !hasLeavingTasks(tasks) && !hasTooMany;
  if (isThere) return { name, verdict: isSteady ? 'converged' : 'waiting', line, reasons: [] };
  const reasons = reasonsOf(tasks, nowMs);
  return { name, verdict: reasons.length > 0 ? 'hopeless' : 'waiting', line, reasons };
}

function hasEnough({ serviceStatus }: Service): boolean {
  return (serviceStatus?.runningTasks ?? 0) >= (serviceStatus?.desiredTasks ?? 0);
}

/** A job may wait for room, or for a task that takes its time; it is lost when a place was given up. */
function judgeJob(
  service: Service,
  tasks: readonly Task[],
  nowMs: number,
): Omit<Judgement, 'name'> {
  const { runningTasks: running = 0, completedTasks: completed = 0 } = service.serviceStatus ?? {};
  const total = completionsOf(service);
  const line = `${completed}/${total} completed, ${running} running`;
  if (completed >= total) return { verdict: 'converged', line, reasons: [] };
  const present = tasks.filter((t) => t.jobIteration === service.jobStatus?.iteration);
  const reasons = eachPlace(present, (place) => whyAbandoned(place, nowMs));
  return { verdict: reasons.length > 0 ? 'hopeless' : 'waiting', line, reasons };
}

/** What an update under way or gone wrong says; undefined when it is over and well. */
function judgeUpdate(update: UpdateStatus, line: string): Omit<Judgement, 'name'> | undefined {
  const reasons = [update.message];
  switch (update.state) {
    case UpdateState.PAUSED:
    case UpdateState.ROLLBACK_PAUSED:
      return { verdict: 'hopeless', line: 'update paused', reasons };
    case UpdateState.UPDATING:
    case UpdateState.ROLLBACK_STARTED:
      return { verdict: 'waiting', line: `${line}, ${update.message}`, reasons: [] };
    case UpdateState.UNKNOWN:
    case UpdateState.COMPLETED:
    case UpdateState.ROLLBACK_COMPLETED:
      return undefined;
  }
}

/** Tasks that should end and have not: a scale-down is over only when they are gone. */
function hasLeavingTasks(tasks: readonly Task[]): boolean {
  return tasks.some(
    (t) => t.desiredState === TaskState.REMOVE && t.nodeId !== '' && !isTerminal(t.status.state),
  );
}

/** More of them than desired: the managers have not yet got to a scale-down that was just asked for. */
function countWanted(tasks: readonly Task[]): number {
  return tasks.filter((t) => isWanted(t.desiredState) && !isTerminal(t.status.state)).length;
}

/** Why slots of the service cannot come to run; empty while there is hope. */
function reasonsOf(tasks: readonly Task[], nowMs: number): string[] {
  return eachPlace(tasks, (all) => {
    // failures of a former spec say nothing of this one
    const present = all.filter((t) => t.specVersion === all.at(-1)?.specVersion);
    return reasonOf(present, nowMs);
  });
}

/** What there is to say of the tasks of each place, said once. */
function eachPlace(
  tasks: readonly Task[],
  reasonFor: (tasks: readonly Task[]) => string | undefined,
): string[] {
  const places = [...new Set(tasks.map(placeOf))];
  const reasons = places.map((place) => reasonFor(tasks.filter((t) => placeOf(t) === place)));
  return [...new Set(reasons.filter((r) => r !== undefined))];
}

function reasonOf(slot: readonly Task[], nowMs: number): string | undefined {
  const newest = slot.at(-1);
  if (newest === undefined || slot.some((t) => t.status.state === TaskState.RUNNING))
    return undefined;
  const { status } = newest;
  const isStuck =
    status.state === TaskState.PENDING &&
    status.message.startsWith('no suitable node') &&
    nowMs - newest.createdAtMs > UNPLACEABLE_MS;
  if (isStuck) return status.message;
  const abandoned = whyAbandoned(slot, nowMs);
  if (abandoned !== undefined) return abandoned;
  const failed = slot.filter(
    ({ status: { state } }) => state === TaskState.FAILED || state === TaskState.REJECTED,
  );
  const last = failed.at(-1);
  return last !== undefined && failed.length >= HOPELESS_FAILURES
    ? `task ${placeName(newest)}: ${last.status.err}`
    : undefined;
}

/** Why a place will have no other task, where its last one did not end as it should. */
function whyAbandoned(place: readonly Task[], nowMs: number): string | undefined {
  const newest = place.at(-1);
  if (newest === undefined || !endedByItself(newest)) return undefined;
  const { status, desiredState, jobIteration } = newest;
  if (desiredState === TaskState.REMOVE || nowMs - status.timestampMs <= ABANDONED_MS) {
    return undefined;
  }
  if (status.state === TaskState.COMPLETE && jobIteration > 0) return undefined;
  const how = status.err === '' ? `ended (${toWord(status.state)})` : status.err;
  return `task ${placeName(newest)}: ${how}; its restart policy starts no other`;
}

function notConverged(states: readonly Judgement[]): NotConvergedError {
  const lines = states.flatMap((s) => [
    `error: service ${s.name} did not converge (${s.line})`,
    ...s.reasons.map((reason) => `  ${reason}`),
  ]);
  return new NotConvergedError(
    [...lines, 'see "hatoba service ps" and "hatoba service logs"'].join('\n'),
  );
}
