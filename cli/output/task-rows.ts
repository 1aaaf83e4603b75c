import { formatListing, type Listing, type ListingOptions } from './listing.js';
import { agoText, type TaskRow } from './rows.js';

/** Before the name of a task for whose place a newer one stands. */
const FORMER = ' \\_ ';

const TASKS: Listing<TaskRow> = {
  key: (t) => t.id,
  columns: [
    { title: 'ID', field: 'ID', value: (t) => t.id.slice(0, 12) },
    { title: 'NAME', field: 'Name', value: (t) => t.name },
    { title: 'IMAGE', field: 'Image', value: (t) => t.image },
    { title: 'NODE', field: 'Node', value: (t) => t.node },
    { title: 'DESIRED', field: 'DesiredState', value: (t) => t.desiredState },
    { title: 'STATE', field: 'CurrentState', value: stateOf },
    { title: 'ERROR', field: 'Error', value: (t) => (t.error === '' ? waitingFor(t) : t.error) },
    { title: 'REASON', value: reasonOf },
    {
      title: 'ADDRESSES',
      value: (t) => t.addresses.map((a) => `${a.network}=${a.ip}`).join(' '),
      wide: true,
    },
    { title: 'PID', value: (t) => (t.pid === 0 ? '' : String(t.pid)), wide: true },
  ],
  filters: {
    'desired-state': (t, value) => t.desiredState === value,
    name: (t, value) => [t.name.replace(FORMER, ''), nameById(t)].some((n) => n.startsWith(value)),
    node: (t, value) => t.node === value || t.nodeId === value,
  },
};

/**
 * Tasks as `ps` shows them. In tables those of a place stand together, the newest first and the
 * former ones indented under it, as docker does; elsewhere they stay as they come.
 * @param rows of each place in order of generation
 */
export function formatTasks(rows: readonly TaskRow[], options: ListingOptions): string {
  const { format, quiet, output } = options;
  const isTable =
    format === undefined ? !quiet && ['table', 'wide'].includes(output) : /^table\b/.test(format);
  return formatListing(isTable ? placesOf(rows).flatMap(nested) : rows, TASKS, options);
}

/** "failed 3 minutes ago". */
export function stateOf({ state, stateChangedAt }: TaskRow): string {
  return `${state} ${agoText(stateChangedAt, Date.now())}`.trim();
}

/** For a task that waits: on what. */
export function waitingFor(task: TaskRow): string {
  const isToStop = task.state === 'running' && task.desiredState !== 'running';
  return isToStop || ['new', 'pending'].includes(task.state) ? task.message : '';
}

/** Why a task is on its way out, or gone; of others, why it was made. */
function reasonOf(task: TaskRow): string {
  const reason = endReasonOf(task);
  return reason === '' ? task.cause : reason;
}

/** Why a task is on its way out, or gone; empty for others, which may have been told to run. */
export function endReasonOf({ desiredReason, desiredState }: TaskRow): string {
  return ['ready', 'running', 'complete'].includes(desiredState) ? '' : desiredReason;
}

function nested(tasks: readonly TaskRow[]): TaskRow[] {
  return tasks.toReversed().map((t, i) => ({ ...t, name: `${i === 0 ? '' : FORMER}${nameOf(t)}` }));
}

/** Tasks of global services have their nodes' names in theirs, for people. */
function nameOf(task: TaskRow): string {
  return task.slot === 0 ? `${task.service}.${task.node}` : task.name;
}

function nameById({ slot, service, nodeId }: TaskRow): string {
  return `${service}.${slot === 0 ? nodeId : slot}`;
}

/** The tasks of each place, places in the order they come. */
function placesOf(rows: readonly TaskRow[]): TaskRow[][] {
  const places = new Map<string, TaskRow[]>();
  for (const row of rows) {
    const place = places.get(row.name);
    if (place === undefined) places.set(row.name, [row]);
    else place.push(row);
  }
  return [...places.values()];
}
