import { HatobaError } from '../../common/errors.js';
import type { IdMap } from '../../linux/ports.js';
import type { ContainerSpec, Limit } from '../../proto/gen/hatoba/v1/types.js';
import { pickCapabilities, toCapabilitySets } from './capabilities.js';
import {
  cgroupPathOf,
  planResources,
  type DiskThrottles,
  type ResourceHost,
} from './cgroup-plan.js';
import { parseDeviceRule } from './device-rules.js';
import { planIdMappings } from './id-map.js';
import type { ImageConfig } from './image-config.js';
import {
  planMounts,
  planRootPropagation,
  type ReadyMount,
  type SharedMemory,
} from './mount-plan.js';
import { planNamespaces, type Joinable, type NamespaceModes } from './namespace-plan.js';
import type { OciDevice, OciDeviceRule, OciSeccomp, OciSpec } from './oci-spec.js';
import { planArgs, planCwd, planEnv } from './process-plan.js';
import { planRlimits, type HardLimits } from './rlimits.js';
import { planSysctls } from './sysctls.js';
import type { ResolvedUser } from './user.js';

/** Docker's lists. */
const MASKED_PATHS: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];
/** What the bundle must know of the machine. */
export interface HostFacts extends ResourceHost {
  /** The engine's own bounding set. */
  capabilities: ReadonlySet<string>;
  hardLimits: HardLimits;
  /** The machine's name, for containers that share it. */
  hostname: string;
}

/** A device of the host that the container gets. */
export interface GrantedDevice {
  device: OciDevice;
  /** "rwm" or a part of it. */
  access: string;
}

export interface BundleInput {
  id: string;
  spec: ContainerSpec;
  limits: Limit;
  throttles: DiskThrottles;
  modes: NamespaceModes;
  /** Namespace files: the network its caller made, and what it joins. */
  namespaces: Readonly<Partial<Record<Joinable, string>>>;
  sharedMemory: SharedMemory;
  cgroupParent: string;
  cgroupGroup: string;
  image: ImageConfig;
  rootDir: string;
  user: ResolvedUser;
  mounts: readonly ReadyMount[];
  /** Own files: target → path on the host. */
  files: Readonly<Record<string, string>>;
  devices: readonly GrantedDevice[];
  initSource?: string;
  host: HostFacts;
  /** Users of its own. */
  idMap?: IdMap;
}

/**
 * The host name of a container: what it asks for, the start of its id as in Docker, or the machine's
 * where it shares that.
 */
export function hostnameOf(
  id: string,
  spec: Pick<ContainerSpec, 'hostname'>,
  uts: NamespaceModes['uts'],
  host: Pick<HostFacts, 'hostname'>,
): string {
  if (uts === 'host') return host.hostname;
  return spec.hostname !== '' ? spec.hostname : id.slice(0, 12);
}

/**
 * The OCI configuration of a container, without its seccomp program (see withSeccomp).
 * @throws {HatobaError} invalid-argument | failed-precondition for a wish that cannot be met
 */
export function buildBundle(input: BundleInput): OciSpec {
  const { spec, image, host } = input;
  const { privileged } = spec;
  const capabilities = pickCapabilities(
    { add: spec.capabilityAdd, drop: spec.capabilityDrop, privileged },
    host.capabilities,
  );
  const { modes } = input;
  const hostname = hostnameOf(input.id, spec, modes.uts, host);
  const rootfsPropagation = planRootPropagation(input.mounts);
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: spec.tty,
      user: {
        uid: input.user.uid,
        gid: input.user.gid,
        additionalGids: input.user.additionalGids,
      },
      args: planArgs(spec, image),
      env: planEnv({
        image: image.env,
        own: spec.env,
        hostname,
        home: input.user.home,
        tty: spec.tty,
      }),
      cwd: planCwd(spec.dir, image.workingDir),
      capabilities: toCapabilitySets(capabilities),
      rlimits: planRlimits(spec.ulimits, host.hardLimits),
      noNewPrivileges: spec.noNewPrivileges,
      oomScoreAdj: checkOomScore(spec.oomScoreAdj, host),
    },
    root: { path: input.rootDir, readonly: spec.readOnly },
    ...(modes.uts === 'own' && { hostname }),
    mounts: planMounts({
      mounts: input.mounts,
      files: input.files,
      privileged,
      sharedMemory: input.sharedMemory,
      ...(input.initSource !== undefined && { initSource: input.initSource }),
    }),
    linux: {
      namespaces: [
        ...planNamespaces(modes, input.namespaces),
        ...(input.idMap === undefined ? [] : [{ type: 'user' } as const]),
      ],
      ...(input.idMap !== undefined && planIdMappings(input.idMap)),
      cgroupsPath: cgroupPathOf(input.cgroupParent, input.cgroupGroup, input.id),
      resources: planResources(input.limits, {
        host,
        throttles: input.throttles,
        privileged,
        extraDevices: [
          ...input.devices.map(toRule),
          ...spec.deviceCgroupRules.map(parseDeviceRule),
        ],
      }),
      devices: input.devices.map(({ device }) => device),
      // Not OCI's `domainname`: older crun passes over it in silence.
      sysctl: {
        ...(spec.domainname !== '' && { 'kernel.domainname': spec.domainname }),
        ...planSysctls(spec.sysctls, modes),
      },
      maskedPaths: privileged ? [] : MASKED_PATHS,
      readonlyPaths: privileged ? [] : READONLY_PATHS,
      ...(rootfsPropagation !== undefined && { rootfsPropagation }),
    },
    annotations: {},
  };
}

/**
 * Adds the seccomp program: compiled (`bpf`), which crun loads as it is, or as rules, which crun
 * compiles each time (12 ms).
 */
export function withSeccomp(
  spec: OciSpec,
  seccomp: { rules: OciSeccomp } | { bpf: string } | undefined,
): OciSpec {
  if (seccomp === undefined) return spec;
  if ('rules' in seccomp) return { ...spec, linux: { ...spec.linux, seccomp: seccomp.rules } };
  return {
    ...spec,
    annotations: { ...spec.annotations, 'run.oci.seccomp_bpf_data': seccomp.bpf },
  };
}

/** Always set: without it a container would have what the engine was started with. */
function checkOomScore(score: number, host: Pick<HostFacts, 'capabilities'>): number {
  if (score < -1000 || score > 1000) {
    throw new HatobaError(
      'invalid-argument',
      `oom_score_adj ${score} is out of range: -1000 to 1000 are allowed`,
    );
  }
  if (score < 0 && !host.capabilities.has('CAP_SYS_RESOURCE')) {
    throw new HatobaError(
      'failed-precondition',
      `oom_score_adj ${score} cannot be set: the engine itself lacks CAP_SYS_RESOURCE`,
    );
  }
  return score;
}

function toRule({ device, access }: GrantedDevice): OciDeviceRule {
  const { type, major, minor } = device;
  return { allow: true, type, major, minor, access };
}
