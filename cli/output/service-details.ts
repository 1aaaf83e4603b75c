import { formatBytes } from '../../common/bytes.js';
import { formatDurationMs } from '../../common/duration.js';
import type { Service } from '../../common/model/objects.js';
import { toWord } from '../../common/model/words.js';
import type { GenericResource, UpdateConfig } from '../../proto/gen/hatoba/v1/types.js';
import { detailsText, pairsText, type Detail, type DetailPart } from './details.js';
import { placementLines } from './placement-details.js';
import { agoText, replicasText, serviceRow, timeText } from './rows.js';

/**
 * One service for people, as `docker service inspect --pretty`.
 * @param networks names by id
 */
export function serviceText(service: Service, networks: ReadonlyMap<string, string>): string {
  const { spec } = service;
  const row = serviceRow(service);
  const targets = spec.taskTemplate.networks.map((n) => n.target);
  const networkNames = targets.map((id) => networks.get(id) ?? id);
  const lines: readonly (Detail | DetailPart)[] = [
    ['ID', service.id],
    ['Name', spec.name],
    ['Labels', pairsText(spec.labels)],
    ['Mode', `${row.mode}, ${replicasText(row)} running`],
    ['Revision', `${service.specVersion}, since ${timeText(service.updatedAtMs) ?? ''}`],
    ['Removal', service.pendingDelete ? 'waits for its tasks to be gone' : ''],
    ['Update', updateLines(service)],
    ['Updates', configLines(spec.updateConfig)],
    ['Rollbacks', configLines(spec.rollbackConfig)],
    ['Container', containerLines(service)],
    ['Placement', placementLines(service)],
    ['Networks', networkNames.join(', ')],
    ['Virtual IPs', service.endpoint.virtualIps.map((v) => v.addr).join(', ')],
    ['Ports', row.ports.join(', ')],
  ];
  return detailsText(lines);
}

function updateLines({ updateStatus }: Service): Detail[] {
  if (updateStatus === undefined) return [];
  const { state, startedAtMs, completedAtMs, message } = updateStatus;
  const ago = (ms: number): string => agoText(timeText(ms), Date.now());
  return [
    ['State', toWord(state).replace('_', ' ')],
    ['Started', ago(startedAtMs)],
    ['Completed', ago(completedAtMs)],
    ['Message', message],
  ];
}

function configLines(config: UpdateConfig): Detail[] {
  const { parallelism, delayMs, monitorMs, maxFailureRatio, progressDeadlineMs } = config;
  return [
    ['Parallelism', parallelism === 0 ? 'all at once' : String(parallelism)],
    ['Order', toWord(config.order)],
    ['Delay', delayMs === 0 ? '' : formatDurationMs(delayMs)],
    ['Monitor', formatDurationMs(monitorMs)],
    ['On failure', toWord(config.failureAction)],
    ['May fail', maxFailureRatio === 0 ? '' : `${Math.round(maxFailureRatio * 100)}%`],
    ['Deadline', progressDeadlineMs === undefined ? '' : formatDurationMs(progressDeadlineMs)],
  ];
}

function containerLines({ spec }: Service): Detail[] {
  const { containerSpec, resources } = spec.taskTemplate;
  const { image, command, args, env, user, mounts } = containerSpec;
  return [
    ['Image', image],
    ['Command', [...command, ...args].join(' ')],
    ['Environment', env.join(' ')],
    ['User', user],
    ['Mounts', mounts.map((m) => `${m.source === '' ? '' : `${m.source}:`}${m.target}`).join(' ')],
    ['Limits', amounts(resources.limits)],
    ['Reservations', amounts(resources.reservations)],
  ];
}

/** @param of limits or reservations, of which only the latter have `generic` */
function amounts(of: {
  nanoCpus: number;
  memoryBytes: number;
  pids: number;
  generic?: readonly GenericResource[];
}): string {
  const { nanoCpus, memoryBytes, pids, generic = [] } = of;
  return [
    ...(nanoCpus === 0 ? [] : [`${nanoCpus / 1e9} CPUs`]),
    ...(memoryBytes === 0 ? [] : [formatBytes(memoryBytes)]),
    ...(pids === 0 ? [] : [`${pids} PIDs`]),
    ...generic.map(({ kind, count }) => `${count} ${kind}`),
  ].join(', ');
}
