import { placeName } from '../common/model/task-place.js';
import type { Node, Task } from '../common/model/objects.js';
import { NodeAvailability, NodeState, TaskState } from '../proto/gen/hatoba/v1/types.js';
import { getNode, listTasks } from './api.js';
import { NotConvergedError } from './failure.js';
import { isHere } from './output/node-details.js';
import { Progress } from './output/progress.js';
import { pause } from './pause.js';
import type { Session } from './session.js';

const POLL_MS = 250;
/** How often it is looked for what keeps the tasks that are left. */
const LOOK_FOR_REASONS_MS = 2000;
/** Tasks that are named, and services that are looked at; the others are counted. */
const MOST_NAMED = 4;

/**
 * Waits until no task is left on drained nodes, showing progress on stderr. Nobody can wait for those
 * of a node that is down: they are replaced without.
 * @throws {NotConvergedError} with what is left and why, when the time is over or a node was made
 * active again
 */
export async function waitUntilDrained(
  session: Session,
  nodeIds: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  const progress = new Progress(process.stderr);
  let lookAtMs = Date.now() + LOOK_FOR_REASONS_MS;
  let reasons: ReadonlyMap<string, string> = new Map();
  for (;;) {
    const states = await Promise.all(
      nodeIds.map(async (id) => {
        const [node, tasks] = await Promise.all([
          getNode(session, id),
          listTasks(session, { node: id, history: true }),
        ]);
        return judgeDrain(node, tasks);
      }),
    );
    const left = states.filter((s) => s.verdict !== 'done');
    if (Date.now() >= lookAtMs) {
      reasons = await whyNotMoved(
        session,
        left.flatMap((s) => s.tasks),
      );
      lookAtMs = Date.now() + LOOK_FOR_REASONS_MS;
    }
    const lineOf = (s: DrainState): string => `${s.name.padEnd(16)} ${s.line}`;
    progress.show(new Map(states.map((s) => [s.name, lineOf(s) + reasonsOf(s.tasks, reasons)])));
    if (left.length === 0) return;
    const isOver = Date.now() > deadline || left.some((s) => s.verdict === 'hopeless');
    if (isOver) {
      const lines = left.map((s) => `error: node ${lineOf(s)}${reasonsOf(s.tasks, reasons)}`);
      throw new NotConvergedError(lines.join('\n'));
    }
    await pause(POLL_MS, session.signal);
  }
}

export interface DrainState {
  name: string;
  verdict: 'done' | 'waiting' | 'hopeless';
  line: string;
  /** Those that are left. */
  tasks: readonly Task[];
}

/** How far a node is. @param tasks of the node, ended ones too */
export function judgeDrain(node: Node, tasks: readonly Task[]): DrainState {
  const name = node.spec.name || node.description.hostname || node.id;
  if (node.spec.availability !== NodeAvailability.DRAIN) {
    return { name, verdict: 'hopeless', line: 'was made active again meanwhile', tasks: [] };
  }
  if (node.status.state === NodeState.DOWN) {
    const line = 'is down: whether its containers still run is not known';
    return { name, verdict: 'done', line, tasks: [] };
  }
  const left = tasks.filter(isHere);
  if (left.length === 0) return { name, verdict: 'done', line: 'has no tasks', tasks: [] };
  const named = left.slice(0, MOST_NAMED).map(placeName);
  const more = left.length > MOST_NAMED ? ', …' : '';
  const line = `${left.length} task${left.length === 1 ? '' : 's'} left: ${named.join(', ')}${more}`;
  const isAway = node.status.state === NodeState.DISCONNECTED;
  const why = isAway ? '; the node is disconnected, so they can only end when it is back' : '';
  return { name, verdict: 'waiting', line: line + why, tasks: left };
}

/** What keeps tasks of some services, by the services' ids: why others cannot take their places. */
async function whyNotMoved(
  session: Session,
  tasks: readonly Task[],
): Promise<ReadonlyMap<string, string>> {
  const services = [...new Set(tasks.map((t) => t.serviceId))].slice(0, MOST_NAMED);
  const found = new Map<string, string>();
  for (const service of services) {
    const waiting = (await listTasks(session, { service }))
      .filter((t) => t.status.state === TaskState.PENDING && t.status.message !== '')
      .map((t) => `${placeName(t)} waits: ${t.status.message}`);
    if (waiting[0] !== undefined) found.set(service, waiting[0]);
  }
  return found;
}

function reasonsOf(tasks: readonly Task[], reasons: ReadonlyMap<string, string>): string {
  const services = [...new Set(tasks.map((t) => t.serviceId))];
  const said = services.flatMap((service) => reasons.get(service) ?? []);
  return said.length === 0 ? '' : ` (${said.join('; ')})`;
}
