import type { Value } from './reader.js';

/**
 * Where a field of a service's spec comes from in the service's entry of a compose file, where that
 * is not the same word in another spelling. The first beginning that fits counts.
 */
const OF_SERVICE: readonly [field: string, key: string][] = [
  ['mode.replicas', 'deploy.replicas'],
  ['mode.totalCompletions', 'deploy.replicas'],
  ['mode.maxConcurrent', 'deploy.max_concurrent'],
  ['endpointSpec.mode', 'deploy.endpoint_mode'],
  ['endpointSpec', 'deploy'],
  ['taskTemplate.networks', 'networks'],
  ['taskTemplate.logDriver', 'logging'],
  ['taskTemplate.placement.maxReplicas', 'deploy.placement.max_replicas_per_node'],
  ['taskTemplate.resources.limits.nanoCpus', 'deploy.resources.limits.cpus'],
  ['taskTemplate.resources.reservations.nanoCpus', 'deploy.resources.reservations.cpus'],
  [
    'taskTemplate.resources.reservations.generic',
    'deploy.resources.reservations.generic_resources',
  ],
  ['taskTemplate.containerSpec.command', 'entrypoint'],
  ['taskTemplate.containerSpec.args', 'command'],
  ['taskTemplate.containerSpec.dir', 'working_dir'],
  ['taskTemplate.containerSpec.groups', 'group_add'],
  ['taskTemplate.containerSpec.hosts', 'extra_hosts'],
  ['taskTemplate.containerSpec.openStdin', 'stdin_open'],
  ['taskTemplate.containerSpec.capabilityAdd', 'cap_add'],
  ['taskTemplate.containerSpec.capabilityDrop', 'cap_drop'],
  ['taskTemplate.containerSpec.dnsConfig.nameservers', 'dns'],
  ['taskTemplate.containerSpec.dnsConfig.search', 'dns_search'],
  ['taskTemplate.containerSpec.dnsConfig.options', 'dns_opt'],
  ['taskTemplate.containerSpec.pidMode', 'pid'],
  ['taskTemplate.containerSpec.ipcMode', 'ipc'],
  ['taskTemplate.containerSpec.utsMode', 'uts'],
  ['taskTemplate.containerSpec.cgroupnsMode', 'cgroup'],
  ['taskTemplate.containerSpec', ''],
  ['taskTemplate', 'deploy'],
  ['name', ''],
  ['', 'deploy'],
];
/** Lists that are not item by item what the file has: a range is several ports. */
const AS_A_WHOLE: readonly [field: string, key: string][] = [
  ['endpointSpec.ports', 'ports'],
  ['taskTemplate.containerSpec.env', 'environment'],
  ['taskTemplate.containerSpec.mounts', 'volumes'],
  ['taskTemplate.containerSpec.ulimits', 'ulimits'],
];
const OF_NETWORK: readonly [field: string, key: string][] = [
  ['ipam', 'ipam.config'],
  ['vni', 'driver_opts'],
  ['mtuBytes', 'driver_opts'],
  ['', ''],
];

/** The names that a part of a stack has in its file, by its place in the spec. */
export interface PartNames {
  readonly services: readonly string[];
  readonly networks: readonly string[];
}

/**
 * Finds where something was said that the managers speak of by its place in the spec.
 * @param path "services[0].taskTemplate.placement.constraints[1]"
 * @returns the innermost entry of the file that has to do with it; undefined if there is none
 */
export function findPlace(root: Value, names: PartNames, path: string): Value | undefined {
  const match = /^(services|networks)\[(\d+)\]\.?(.*)$/.exec(path);
  if (match === null) return undefined;
  const kind = match[1] === 'services' ? 'services' : 'networks';
  const name = names[kind][Number(match[2])];
  const part = name === undefined ? undefined : innermost(root, [kind, name]);
  const keys = keysOf(kind, match[3] ?? '');
  return part && innermost(part, keys);
}

function keysOf(kind: keyof PartNames, field: string): string[] {
  const whole = AS_A_WHOLE.find(([beginning]) => kind === 'services' && startsAt(field, beginning));
  if (whole !== undefined) return [whole[1]];
  const table = kind === 'services' ? OF_SERVICE : OF_NETWORK;
  const [beginning, key] = table.find(([b]) => startsAt(field, b)) ?? ['', ''];
  return `${key}.${spelled(field.slice(beginning.length))}`
    .split(/[.[\]]+/)
    .filter((k) => k !== '');
}

function startsAt(field: string, beginning: string): boolean {
  const isStart = beginning === '' || /^(?:[.[]|$)/.test(field.slice(beginning.length));
  return field.startsWith(beginning) && isStart;
}

/** "spreads[0].maxSkew" → "spreads[0].max_skew"; "delayMs" → "delay". */
function spelled(field: string): string {
  return field
    .replace(/(?:Ms|Bytes)\b/g, '')
    .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Follows keys and numbers of items as far as the file has them. */
function innermost(value: Value, keys: readonly string[]): Value {
  const [key, ...rest] = keys;
  if (key === undefined) return value;
  const entries = value.isMap ? value.entries() : [];
  const inner = value.isList
    ? value.items()[Number(key)]
    : entries.find(([name]) => name === key)?.[1];
  return inner === undefined ? value : innermost(inner, rest);
}
