import { formatBytes } from '../../common/bytes.js';
import type { Node, Task } from '../../common/model/objects.js';
import { isTerminal, rankOf } from '../../common/model/task-state.js';
import { TaskState, type GenericResource } from '../../proto/gen/hatoba/v1/types.js';
import { detailsText, pairsText, type Detail } from './details.js';
import { agoText, nodeRow, timeText } from './rows.js';

/** Images that are named; the others are counted. */
const MOST_IMAGES = 5;

/**
 * One node for people, as `docker node inspect --pretty`, with what its tasks have reserved of it.
 * @param tasks of the node, ended ones too
 */
export function nodeText(node: Node, tasks: readonly Task[], nowMs: number): string {
  const { spec, description, status } = node;
  const row = nodeRow(node);
  const here = tasks.filter(isHere);
  const { platform, engine, images } = description;
  return detailsText([
    ['ID', node.id],
    ['Name', spec.name],
    ['Hostname', description.hostname],
    ['Labels', pairsText(spec.labels)],
    ['Taints', row.taints.join(' ')],
    ['Joined', agoText(timeText(node.createdAtMs), nowMs)],
    [
      'Status',
      [
        ['State', `${row.state}, changed ${agoText(timeText(status.stateChangedAtMs), nowMs)}`],
        ['Message', status.message],
        ['Lost of late', status.lostAtMs.map((ms) => agoText(timeText(ms), nowMs)).join(', ')],
        ['Availability', row.availability],
        ['Address', status.addr],
        ['Data path', description.dataPathAddress],
      ],
    ],
    ['Manager', managerLines(node)],
    ['Platform', `${platform.os}/${platform.architecture}`],
    ['Resources', resourceLines(node, here)],
    ['Tasks', taskWords(here)],
    [
      'Engine',
      [
        ['Version', engine.engineVersion],
        ['Labels', pairsText(engine.labels)],
        ['Images', imageWords(images)],
      ],
    ],
  ]);
}

/** Whether a task is on its node, so that what it has reserved is taken. */
export function isHere({ status: { state } }: Task): boolean {
  return rankOf(state) >= rankOf(TaskState.ASSIGNED) && !isTerminal(state);
}

function managerLines({ managerStatus }: Node): Detail[] {
  if (managerStatus === undefined) return [];
  return [
    ['Address', managerStatus.addr],
    ['Leader', managerStatus.leader ? 'yes' : 'no'],
  ];
}

/** "4 CPUs, 1.5 reserved, 2.5 free" */
function resourceLines({ description: { resources } }: Node, here: readonly Task[]): Detail[] {
  const reserved = (field: 'nanoCpus' | 'memoryBytes' | 'pids'): number =>
    here.reduce((sum, { spec }) => sum + spec.resources.reservations[field], 0);
  const cpus = (nano: number): string => String(Number((nano / 1e9).toFixed(2)));
  return [
    ['CPUs', share(resources.nanoCpus, reserved('nanoCpus'), cpus)],
    ['Memory', share(resources.memoryBytes, reserved('memoryBytes'), formatBytes)],
    ['PIDs', share(resources.pids, reserved('pids'), String)],
    ...resources.generic.map((kind) => genericLine(kind, here)),
  ];
}

function share(total: number, reserved: number, format: (amount: number) => string): string {
  const free = Math.max(0, total - reserved);
  return `${format(total)}, ${format(reserved)} reserved, ${format(free)} free`;
}

/** "2 (UUID1, UUID2), 1 reserved (UUID1), 1 free" */
function genericLine({ kind, count, names }: GenericResource, here: readonly Task[]): Detail {
  const given = here.flatMap((t) => t.assignedGenericResources).filter((r) => r.kind === kind);
  const taken = given.flatMap((r) => r.names);
  const total = count + names.length;
  const used = given.reduce((sum, r) => sum + r.count + r.names.length, 0);
  const words = (list: readonly string[]): string =>
    list.length === 0 ? '' : ` (${list.join(', ')})`;
  const free = Math.max(0, total - used);
  return [kind, `${total}${words(names)}, ${used} reserved${words(taken)}, ${free} free`];
}

/** "3 (api 1, web 2)" */
function taskWords(here: readonly Task[]): string {
  const counts = new Map<string, number>();
  for (const { serviceName } of here) counts.set(serviceName, (counts.get(serviceName) ?? 0) + 1);
  const services = [...counts].map(([service, count]) => `${service} ${count}`).sort();
  return services.length === 0 ? '0' : `${here.length} (${services.join(', ')})`;
}

function imageWords(images: readonly string[]): string {
  const more = images.length - MOST_IMAGES;
  const named = images.slice(0, MOST_IMAGES).join(' ');
  return more > 0 ? `${named} and ${more} more` : named;
}
