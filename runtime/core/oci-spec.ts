/** The parts of the OCI runtime configuration (config.json) that Hatoba writes. */

/** A limit of uint64 range; `unlimited` is written as 2^64-1, which no JavaScript number holds. */
export type RlimitValue = number | 'unlimited';

export interface OciRlimit {
  type: string;
  soft: RlimitValue;
  hard: RlimitValue;
}

export interface OciUser {
  uid: number;
  gid: number;
  additionalGids: readonly number[];
}

export interface OciCapabilities {
  bounding: readonly string[];
  effective: readonly string[];
  permitted: readonly string[];
  inheritable: readonly string[];
}

export interface OciProcess {
  terminal: boolean;
  consoleSize?: { height: number; width: number };
  user: OciUser;
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  capabilities: OciCapabilities;
  rlimits: readonly OciRlimit[];
  noNewPrivileges: boolean;
  oomScoreAdj?: number;
}

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: readonly string[];
}

export interface OciDevice {
  path: string;
  type: 'c' | 'b';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

export interface OciDeviceRule {
  allow: boolean;
  type?: 'c' | 'b' | 'a';
  major?: number;
  minor?: number;
  access: string;
}

export interface OciResources {
  devices: readonly OciDeviceRule[];
  memory?: { limit?: number; swap?: number; reservation?: number };
  cpu?: { quota?: number; period?: number; shares?: number; cpus?: string; mems?: string };
  pids?: { limit: number };
  blockIO?: OciBlockIo;
  /** Files of cgroup v2 and what to write to them. */
  unified?: Readonly<Record<string, string>>;
}

export interface OciThrottle {
  major: number;
  minor: number;
  rate: number;
}
export interface OciBlockIo {
  throttleReadBpsDevice?: readonly OciThrottle[];
  throttleWriteBpsDevice?: readonly OciThrottle[];
  throttleReadIOPSDevice?: readonly OciThrottle[];
  throttleWriteIOPSDevice?: readonly OciThrottle[];
}

export interface OciSyscallRule {
  names: readonly string[];
  action: string;
  errnoRet?: number;
  args?: readonly { index: number; value: number; valueTwo?: number; op: string }[];
}

export interface OciSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures: readonly string[];
  syscalls: readonly OciSyscallRule[];
}

export interface OciNamespace {
  type: 'pid' | 'network' | 'mount' | 'uts' | 'ipc' | 'cgroup' | 'user';
  path?: string;
}

export interface OciIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface OciLinux {
  namespaces: readonly OciNamespace[];
  /** With a user namespace of its own. */
  uidMappings?: readonly OciIdMapping[];
  gidMappings?: readonly OciIdMapping[];
  cgroupsPath: string;
  resources: OciResources;
  devices: readonly OciDevice[];
  sysctl: Readonly<Record<string, string>>;
  maskedPaths: readonly string[];
  readonlyPaths: readonly string[];
  rootfsPropagation?: string;
  seccomp?: OciSeccomp;
}

export interface OciSpec {
  ociVersion: string;
  process: OciProcess;
  root: { path: string; readonly: boolean };
  /** Absent: the machine's, whose uts namespace is shared. */
  hostname?: string;
  mounts: readonly OciMount[];
  linux: OciLinux;
  annotations: Readonly<Record<string, string>>;
}

/** The text of config.json, or of a process alone (`crun exec --process`). */
export function formatOciJson(value: OciSpec | OciProcess): string {
  if (!('process' in value)) return formatProcess(value);
  const { process, ...rest } = value;
  return `{"process":${formatProcess(process)},${JSON.stringify(rest).slice(1)}`;
}

/** Only rlimits can hold what JSON.stringify cannot write; so only they are written by hand. */
function formatProcess(process: OciProcess): string {
  const { rlimits, ...rest } = process;
  const texts = rlimits.map(
    ({ type, soft, hard }) =>
      `{"type":${JSON.stringify(type)},"soft":${formatLimit(soft)},"hard":${formatLimit(hard)}}`,
  );
  return `{"rlimits":[${texts.join(',')}],${JSON.stringify(rest).slice(1)}`;
}

function formatLimit(value: RlimitValue): string {
  return value === 'unlimited' ? '18446744073709551615' : String(value);
}
