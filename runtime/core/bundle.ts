import type { ContainerSpec, Limit } from '../../proto/gen/hatoba/v1/types.js';
import { pickCapabilities, toCapabilitySets } from './capabilities.js';
import { cgroupPathOf, planResources } from './cgroup-plan.js';
import type { ImageConfig } from './image-config.js';
import { planMounts, planRootPropagation, type ReadyMount } from './mount-plan.js';
import { planNamespaces } from './namespace-plan.js';
import type { OciDevice, OciDeviceRule, OciSeccomp, OciSpec } from './oci-spec.js';
import { planArgs, planCwd, planEnv } from './process-plan.js';
import { planRlimits, type HardLimits } from './rlimits.js';
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
export interface HostFacts {
  /** The engine's own bounding set. */
  capabilities: ReadonlySet<string>;
  hardLimits: HardLimits;
  /** Whether the kernel accounts swap. */
  swapLimit: boolean;
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
  netns: string;
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
}

/** The host name of a container that asks for none: the start of its id, as in Docker. */
export function hostnameOf(id: string, spec: Pick<ContainerSpec, 'hostname'>): string {
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
  const hostname = hostnameOf(input.id, spec);
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
    },
    root: { path: input.rootDir, readonly: spec.readOnly },
    hostname,
    mounts: planMounts({
      mounts: input.mounts,
      files: input.files,
      privileged,
      shmSizeBytes: spec.shmSizeBytes,
      ...(input.initSource !== undefined && { initSource: input.initSource }),
    }),
    linux: {
      namespaces: planNamespaces({ netns: input.netns, privileged }),
      cgroupsPath: cgroupPathOf(input.cgroupParent, input.cgroupGroup, input.id),
      resources: planResources(input.limits, {
        swapLimit: host.swapLimit,
        privileged,
        extraDevices: input.devices.map(toRule),
      }),
      devices: input.devices.map(({ device }) => device),
      // Not OCI's `domainname`: older crun passes over it in silence.
      sysctl: {
        ...(spec.domainname !== '' && { 'kernel.domainname': spec.domainname }),
        ...spec.sysctls,
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

function toRule({ device, access }: GrantedDevice): OciDeviceRule {
  const { type, major, minor } = device;
  return { allow: true, type, major, minor, access };
}
