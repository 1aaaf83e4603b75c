import { parseDevice } from '../words/container.js';
import { parseTmpfs } from '../words/mounts.js';
import { describeError } from '../../common/errors.js';
import { Ulimit, type ContainerSpec } from '../../proto/gen/hatoba/v1/types.js';
import { definedOf } from './deploy-section.js';
import type { Fields, Value } from './reader.js';

/** What a service's containers may do, and what they share with the machine. */
export function isolationFields(container: ContainerSpec): Fields {
  return {
    read_only: (v) => (container.readOnly = v.boolean() ?? false),
    privileged: (v) => (container.privileged = v.boolean() ?? false),
    cap_add: (v) => (container.capabilityAdd = v.strings()),
    cap_drop: (v) => (container.capabilityDrop = v.strings()),
    security_opt: (v) => {
      for (const item of v.items()) readSecurityOption(item, container);
    },
    sysctls: (v) => (container.sysctls = definedOf(v)),
    shm_size: (v) => (container.shmSizeBytes = v.bytes() ?? 0),
    devices: (v) => {
      container.devices.push(...v.items().flatMap((item) => parsed(item, parseDevice)));
    },
    device_cgroup_rules: (v) => (container.deviceCgroupRules = v.strings()),
    ulimits: (v) => {
      for (const [name, limit] of v.entries()) container.ulimits.push(readUlimit(name, limit));
    },
    tmpfs: (v) => {
      const items = v.isList ? v.items() : [v];
      container.mounts.push(...items.flatMap((item) => parsed(item, parseTmpfs)));
    },
    oom_score_adj: (v) => (container.oomScoreAdj = v.integer(-1000) ?? 0),
    pid: (v) => (container.pidMode = readMode(v, ['private', 'host'])),
    ipc: (v) => (container.ipcMode = readMode(v, ['private', 'shareable', 'host', 'none'])),
    uts: (v) => (container.utsMode = readMode(v, ['private', 'host'])),
    userns_mode: (v) => (container.usernsMode = readMode(v, ['host', 'remap'])),
    cgroup: (v) => (container.cgroupnsMode = readMode(v, ['private', 'host'])),
  };
}

/** The namespace of another container is for those that surely run beside it, as no task does. */
function readMode(value: Value, words: readonly string[]): string {
  const text = value.string();
  if (text === undefined || words.includes(text)) return text ?? '';
  const known = words.map((word) => `"${word}"`).join(' or ');
  value.problem(
    /^(container|service):/.test(text)
      ? `"${text}": a task shares no namespace with other containers, which may run on other nodes; ${known} would be right`
      : `must be ${known}, not "${text}"`,
  );
  return '';
}

/** Written with ":" or "=", as docker takes both. */
function readSecurityOption(value: Value, container: ContainerSpec): void {
  switch (value.string()?.replace('=', ':')) {
    case undefined:
      return;
    case 'no-new-privileges':
    case 'no-new-privileges:true':
      container.noNewPrivileges = true;
      return;
    case 'no-new-privileges:false':
      container.noNewPrivileges = false;
      return;
    case 'seccomp:unconfined':
      container.seccomp = 'unconfined';
      return;
    default:
      value.problem('must be "no-new-privileges:true" or "seccomp:unconfined"');
  }
}

function readUlimit(name: string, value: Value): Ulimit {
  const limit = Ulimit.fromPartial({ name });
  if (value.isMap) {
    value.fields({
      soft: (s) => (limit.soft = s.integer(-1) ?? 0),
      hard: (h) => (limit.hard = h.integer(-1) ?? 0),
    });
  } else limit.soft = limit.hard = value.integer(-1) ?? 0;
  return limit;
}

/** One of the short forms of the command line. */
function parsed<T>(value: Value, parse: (text: string) => T): T[] {
  const text = value.string();
  if (text === undefined) return [];
  try {
    return [parse(text)];
  } catch (error) {
    value.problem(describeError(error));
    return [];
  }
}
