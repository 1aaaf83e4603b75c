import {
  ContainerCreateRequest,
  type ContainerCreateRequest as Request,
} from '../../proto/gen/hatoba/v1/engine.js';
import {
  ContainerSpec,
  DNSConfig,
  HealthConfig,
  LogConfig,
  PublishMode,
  type ContainerSpec as Spec,
  type Mount,
  type PortConfig,
} from '../../proto/gen/hatoba/v1/types.js';
import { toLimit } from '../limits.js';
import {
  fileLines,
  parseDevice,
  parseHost,
  parsePair,
  parseRestart,
  parseUlimit,
} from '../words/container.js';
import { wrong } from '../words/wrong.js';
import { parseMount, parseTmpfs, parseVolume } from '../words/mounts.js';
import { readNetworkFlags } from '../words/networks.js';
import { parsePorts } from '../words/ports.js';
import { splitWords } from '../compose/shell-words.js';
import type { ContainerFlags } from './container-flags.js';

/** What the flags refer to outside of themselves. */
export interface FlagScope {
  /** Absolute, for "./data". */
  baseDir: string;
  /** For `--env NAME`. */
  variables: Readonly<Record<string, string | undefined>>;
  /** @throws {HatobaError} not-found, naming the file */
  readFile: (path: string) => string;
  /** "80/tcp" of the image, for -P. */
  exposedPorts: readonly string[];
  /** Those of --volumes-from. */
  mountsOfOthers: readonly Mount[];
}

/**
 * `docker run FLAGS IMAGE WORDS` as a request.
 * @throws {HatobaError} invalid-argument naming the flag's value that is wrong
 */
export function toCreateRequest(
  image: string,
  words: readonly string[],
  flags: ContainerFlags & { stdinOnce?: boolean },
  scope: FlagScope,
): Request {
  return ContainerCreateRequest.fromPartial({
    name: flags.name ?? '',
    spec: { ...toSpec(image, words, flags, scope), stdinOnce: flags.stdinOnce ?? false },
    limits: toLimit(flags),
    ...readNetworkFlags({
      networks: [...flags.network, ...flags.net],
      aliases: [...flags.networkAlias, ...flags.netAlias],
      ip: flags.ip,
    }),
    ports: toPorts(flags, scope.exposedPorts),
    ...(flags.logDriver === undefined && flags.logOpt.length === 0
      ? {}
      : {
          log: LogConfig.fromPartial({
            name: flags.logDriver ?? '',
            options: pairs(flags.logOpt, '--log-opt'),
          }),
        }),
    restartPolicy: toRestart(flags),
    cgroupGroup: flags.cgroupParent ?? '',
    autoRemove: flags.rm,
  });
}

function toRestart(flags: ContainerFlags): Request['restartPolicy'] {
  const rule = parseRestart(flags.restart ?? 'no');
  if (flags.rm && rule.name !== 'no') {
    throw wrong('--rm and --restart exclude each other: it is removed when it has ended');
  }
  return rule;
}

function toSpec(
  image: string,
  words: readonly string[],
  flags: ContainerFlags,
  scope: FlagScope,
): Spec {
  return ContainerSpec.fromPartial({
    image,
    args: [...words],
    ...processPart(flags, scope),
    ...isolationPart(flags, scope),
    mounts: toMounts(flags, scope),
    healthcheck: toHealth(flags),
    hosts: flags.addHost.map(parseHost),
    dnsConfig: toDns(flags),
  });
}

/** What runs, and as whom. */
function processPart(flags: ContainerFlags, scope: FlagScope): Partial<Spec> {
  const labels = [...flags.labelFile.flatMap((f) => fileLines(scope.readFile(f))), ...flags.label];
  return {
    command: flags.entrypoint === undefined ? [] : toWords(flags.entrypoint),
    env: toEnv(flags, scope),
    labels: pairs(labels, '--label'),
    dir: flags.workdir ?? '',
    user: flags.user ?? '',
    groups: flags.groupAdd,
    hostname: flags.hostname ?? '',
    domainname: flags.domainname ?? '',
    tty: flags.tty,
    openStdin: flags.interactive,
    init: flags.init,
    stopSignal: flags.stopSignal ?? '',
    ...(flags.stopTimeout !== undefined && { stopGracePeriodMs: flags.stopTimeout * 1000 }),
  };
}

/** What it may do, and what it shares. */
function isolationPart(flags: ContainerFlags, scope: FlagScope): Partial<Spec> {
  return {
    ...toSecurity(flags.securityOpt, scope),
    readOnly: flags.readOnly,
    privileged: flags.privileged,
    sysctls: pairs(flags.sysctl, '--sysctl'),
    capabilityAdd: flags.capAdd,
    capabilityDrop: flags.capDrop,
    ulimits: flags.ulimit.map(parseUlimit),
    devices: flags.device.map(parseDevice),
    deviceCgroupRules: flags.deviceCgroupRule,
    shmSizeBytes: flags.shmSize ?? 0,
    pidMode: modeOf(flags.pid, 'private'),
    ipcMode: modeOf(flags.ipc, 'private'),
    utsMode: modeOf(flags.uts, 'private'),
    usernsMode: modeOf(flags.userns, 'host'),
    // a privileged container's own is only what was asked for
    cgroupnsMode: flags.cgroupns ?? '',
    oomScoreAdj: flags.oomScoreAdj ?? 0,
  };
}

/** The usual mode may be said or left out. */
function modeOf(said: string | undefined, usual: string): string {
  return said === undefined || said === usual ? '' : said;
}

/** Docker takes one word here; several are what people mean by a quoted command. */
function toWords(text: string): string[] {
  const words = splitWords(text);
  if (words === undefined) throw wrong(`--entrypoint "${text}" has a quote that is not closed`);
  return words;
}

/** Files first, then --env; NAME alone is taken from here, and left out where it is not set. */
export function toEnv(
  flags: Pick<ContainerFlags, 'env' | 'envFile'>,
  { variables, readFile }: Pick<FlagScope, 'variables' | 'readFile'>,
): string[] {
  const lines = [...flags.envFile.flatMap((file) => fileLines(readFile(file))), ...flags.env];
  const byName = new Map<string, string>();
  for (const line of lines) {
    const [name, value] = parsePair(line, '--env');
    const taken = line.includes('=') ? value : variables[name];
    if (taken === undefined) byName.delete(name);
    else byName.set(name, `${name}=${taken}`);
  }
  return [...byName.values()];
}

function toMounts(flags: ContainerFlags, { baseDir, mountsOfOthers }: FlagScope): Mount[] {
  const own = [
    ...flags.volume.map((text) => parseVolume(text, baseDir)),
    ...flags.mount.map((text) => parseMount(text, baseDir)),
    ...flags.tmpfs.map(parseTmpfs),
  ];
  const taken = new Set(own.map((m) => m.target));
  return [...mountsOfOthers.filter((m) => !taken.has(m.target)), ...own];
}

function toPorts(flags: ContainerFlags, exposed: readonly string[]): PortConfig[] {
  const own = flags.publish.flatMap((text) => parsePorts(text, PublishMode.HOST));
  if (!flags.publishAll) return own;
  const key = (port: PortConfig): string => `${port.targetPort}/${port.protocol}`;
  const taken = new Set(own.map(key));
  const all = [...exposed, ...flags.expose].flatMap((text) => parsePorts(text, PublishMode.HOST));
  return [...own, ...all.filter((port) => !taken.has(key(port)))];
}

function toHealth(flags: ContainerFlags): HealthConfig | undefined {
  if (!flags.healthcheck) return HealthConfig.fromPartial({ test: ['NONE'] });
  const { healthCmd, healthInterval, healthTimeout, healthRetries } = flags;
  const { healthStartPeriod, healthStartInterval } = flags;
  const said = [healthCmd, healthInterval, healthTimeout, healthRetries, healthStartPeriod];
  if ([...said, healthStartInterval].every((value) => value === undefined)) return undefined;
  return HealthConfig.fromPartial({
    test: healthCmd === undefined ? [] : ['CMD-SHELL', healthCmd],
    intervalMs: healthInterval ?? 0,
    timeoutMs: healthTimeout ?? 0,
    startPeriodMs: healthStartPeriod ?? 0,
    startIntervalMs: healthStartInterval ?? 0,
    retries: healthRetries ?? 0,
  });
}

function toDns({ dns, dnsOption, dnsSearch }: ContainerFlags): DNSConfig | undefined {
  const isEmpty = [dns, dnsOption, dnsSearch].every((list) => list.length === 0);
  return isEmpty
    ? undefined
    : DNSConfig.fromPartial({ nameservers: dns, search: dnsSearch, options: dnsOption });
}

/** "no-new-privileges", "seccomp=unconfined", "seccomp=profile.json", also with ":". */
function toSecurity(
  options: readonly string[],
  { readFile }: FlagScope,
): Pick<Spec, 'noNewPrivileges' | 'seccomp'> {
  const result = { noNewPrivileges: false, seccomp: '' };
  for (const option of options) {
    const [, name = '', value = ''] = /^([a-z-]+)(?:[=:](.*))?$/.exec(option) ?? [];
    if (name === 'no-new-privileges') result.noNewPrivileges = value !== 'false';
    else if (name === 'seccomp') {
      result.seccomp = ['unconfined', ''].includes(value) ? value : readFile(value);
    } else {
      throw wrong(
        `--security-opt "${option}" is not known; there are no-new-privileges, seccomp=unconfined and seccomp=FILE`,
      );
    }
  }
  return result;
}

function pairs(lines: readonly string[], flag: string): Record<string, string> {
  return Object.fromEntries(lines.map((line) => parsePair(line, flag)));
}
