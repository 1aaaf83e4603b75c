import type { Service, ServiceRevision, Task } from '../../common/model/objects.js';
import { isTerminal, isWanted } from '../../common/model/task-state.js';
import { toWord } from '../../common/model/words.js';
import { TaskState, UpdateState } from '../../proto/gen/hatoba/v1/types.js';
import type { Listing } from './listing.js';
import { agoText, timeText } from './rows.js';

/** The JSON form of `hatoba rollout history`. Its fields are fixed; scripts count on them. */
export type RevisionRow = ReturnType<typeof revisionRow>;
export function revisionRow({ number, createdAtMs, cause, spec }: ServiceRevision, index: number) {
  return {
    revision: number,
    createdAt: timeText(createdAtMs),
    cause,
    image: spec.taskTemplate.containerSpec.image,
    present: index === 0,
  };
}

/** The newest first. */
export const REVISIONS: Listing<RevisionRow> = {
  key: (r) => String(r.revision),
  columns: [
    { title: 'REVISION', value: (r) => `${r.revision}${r.present ? ' (present)' : ''}` },
    { title: 'CREATED', value: (r) => agoText(r.createdAt, Date.now()) },
    { title: 'CAUSE', value: (r) => clipped(r.cause) },
    { title: 'IMAGE', value: (r) => r.image },
  ],
};

const MAX_CAUSE = 80;

/** The whole of it is in the other formats. */
function clipped(text: string): string {
  return text.length <= MAX_CAUSE ? text : `${text.slice(0, MAX_CAUSE - 1)}…`;
}

/**
 * How far the rollout of a service is, in one line: "web: revision 3, updating: 1 of 3 tasks are of
 * this revision, 3/3 running".
 */
export function rolloutLine(service: Service, tasks: readonly Task[]): string {
  const { spec, specVersion, updateStatus, serviceStatus } = service;
  const head = `${spec.name}: revision ${specVersion}`;
  const { runningTasks = 0, desiredTasks = 0 } = serviceStatus ?? {};
  const running = `${runningTasks}/${desiredTasks} running`;
  const state = updateStatus?.state ?? UpdateState.UNKNOWN;
  if (state === UpdateState.UNKNOWN) return `${head}, ${running}`;
  const words = toWord(state).replace('_', ' ');
  const message = updateStatus?.message ?? '';
  const isOver = state === UpdateState.COMPLETED || state === UpdateState.ROLLBACK_COMPLETED;
  if (isOver) return `${head}, ${message || words}, ${running}`;
  const live = tasks.filter((t) => isWanted(t.desiredState) && !isTerminal(t.status.state));
  const own = live.filter(
    (t) => t.specVersion === specVersion && t.status.state === TaskState.RUNNING,
  );
  const progress = `${own.length} of ${desiredTasks} tasks run this revision`;
  return `${head}, ${words} (${message}): ${progress}, ${running}`;
}
