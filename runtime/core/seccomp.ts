import { HatobaError } from '../../common/errors.js';
import type { OciSeccomp, OciSyscallRule } from './oci-spec.js';

/**
 * The profile format of containers/common and of Docker: OCI's, with `includes` and `excludes` that
 * depend on the capabilities, the architecture and the kernel of the container it is for.
 */
interface ProfileRule {
  names?: readonly string[];
  name?: string;
  action: string;
  errnoRet?: number;
  args?: OciSyscallRule['args'] | null;
  includes?: ProfileFilter;
  excludes?: ProfileFilter;
}
interface ProfileFilter {
  arches?: readonly string[];
  caps?: readonly string[];
  /** Lowest kernel, "4.8". */
  minKernel?: string;
}
export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  archMap?: readonly { architecture: string; subArchitectures?: readonly string[] | null }[];
  syscalls?: readonly ProfileRule[] | null;
}

export interface SeccompTarget {
  capabilities: readonly string[];
  /** As Node names it: "x64", "arm64". */
  arch: string;
  kernel: { major: number; minor: number };
}

const ARCH: Readonly<Record<string, { go: string; scmp: string }>> = {
  x64: { go: 'amd64', scmp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', scmp: 'SCMP_ARCH_AARCH64' },
};

/** Mounts and namespaces: only for those who may administer the machine anyway. */
const ADMIN_CALLS: readonly string[] = (
  'fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root setns umount ' +
  'umount2 unshare'
).split(' ');
/** The kernel's keys are not kept apart by any namespace of a container. */
const KEY_CALLS: readonly string[] = ['add_key', 'keyctl', 'request_key'];
/** Flags of clone(2) that make a namespace: cgroup, ipc, network, mount, pid, user, uts. */
const NAMESPACE_FLAGS: readonly number[] = [
  0x0200_0000, 0x0800_0000, 0x4000_0000, 0x0002_0000, 0x2000_0000, 0x1000_0000, 0x0400_0000,
];
const ALLOW = 'SCMP_ACT_ALLOW';
const REFUSE = 'SCMP_ACT_ERRNO';
const EPERM = 1;
const ENOSYS = 38;

/**
 * The profile of containers/common lets everybody make user namespaces and mounts, as Podman's users
 * do without root; with them comes most of the kernel that can be attacked. This takes them away
 * again, as Docker does, from all without CAP_SYS_ADMIN.
 */
export function tightenProfile(profile: SeccompProfile): SeccompProfile {
  const taken = new Set([...ADMIN_CALLS, ...KEY_CALLS, 'clone', 'clone3']);
  const kept = (profile.syscalls ?? []).map((rule) => {
    const names = namesOf(rule).filter((name) => !taken.has(name));
    return { ...rule, names };
  });
  const admin = { includes: { caps: ['CAP_SYS_ADMIN'] } };
  const others = { excludes: { caps: ['CAP_SYS_ADMIN'] } };
  const withFlags = (value: number, valueTwo: number): ProfileRule['args'] => [
    { index: 0, value, valueTwo, op: 'SCMP_CMP_MASKED_EQ' },
  ];
  const anyFlag = NAMESPACE_FLAGS.reduce((all, flag) => all + flag, 0);
  return {
    ...profile,
    syscalls: [
      ...kept,
      { names: [...ADMIN_CALLS, 'clone', 'clone3'], action: ALLOW, ...admin },
      { names: ADMIN_CALLS, action: REFUSE, errnoRet: EPERM, ...others },
      { names: KEY_CALLS, action: REFUSE, errnoRet: EPERM },
      // Its flags lie in memory, where no filter looks. Without it, libraries fall back to clone.
      { names: ['clone3'], action: REFUSE, errnoRet: ENOSYS, ...others },
      { names: ['clone'], action: ALLOW, args: withFlags(anyFlag, 0), ...others },
      ...NAMESPACE_FLAGS.map((flag) => ({
        names: ['clone'],
        action: REFUSE,
        errnoRet: EPERM,
        args: withFlags(flag, flag),
        ...others,
      })),
    ],
  };
}

/** @throws {HatobaError} invalid-argument when the text is no seccomp profile */
export function parseSeccompProfile(text: string, where: string): SeccompProfile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HatobaError('invalid-argument', `${where}: the seccomp profile is not JSON`, {
      cause: error,
    });
  }
  if (!isProfile(value)) {
    throw new HatobaError(
      'invalid-argument',
      `${where}: the seccomp profile needs "defaultAction", and each of "syscalls" names and an action`,
    );
  }
  return value;
}

/** Settles every condition of a profile for one container: what the OCI runtime takes. */
export function resolveSeccomp(profile: SeccompProfile, target: SeccompTarget): OciSeccomp {
  const syscalls = (profile.syscalls ?? [])
    .filter((rule) => isForTarget(rule, target))
    .map((rule): OciSyscallRule => ({
      names: namesOf(rule),
      action: rule.action,
      ...(rule.errnoRet !== undefined && { errnoRet: rule.errnoRet }),
      ...(rule.args && rule.args.length > 0 && { args: rule.args }),
    }))
    .filter((rule) => rule.names.length > 0);
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: pickArchitectures(profile, target.arch),
    syscalls,
  };
}

function namesOf(rule: ProfileRule): readonly string[] {
  return rule.names ?? (rule.name === undefined ? [] : [rule.name]);
}

function pickArchitectures(profile: SeccompProfile, arch: string): readonly string[] {
  if (profile.architectures && profile.architectures.length > 0) return profile.architectures;
  const native = ARCH[arch]?.scmp;
  if (native === undefined) return [];
  const entry = profile.archMap?.find((a) => a.architecture === native);
  return [native, ...(entry?.subArchitectures ?? [])];
}

function isForTarget(rule: ProfileRule, target: SeccompTarget): boolean {
  return isIncluded(rule.includes ?? {}, target) && !isExcluded(rule.excludes ?? {}, target);
}

/** All conditions must hold. */
function isIncluded(filter: ProfileFilter, target: SeccompTarget): boolean {
  const { arches = [], caps = [], minKernel } = filter;
  if (arches.length > 0 && !arches.includes(goArch(target))) return false;
  if (!caps.every((cap) => target.capabilities.includes(cap))) return false;
  return minKernel === undefined || isAtLeast(target.kernel, minKernel);
}

/** One condition that holds is enough. */
function isExcluded(filter: ProfileFilter, target: SeccompTarget): boolean {
  const { arches = [], caps = [], minKernel } = filter;
  if (arches.includes(goArch(target))) return true;
  if (caps.some((cap) => target.capabilities.includes(cap))) return true;
  return minKernel !== undefined && isAtLeast(target.kernel, minKernel);
}

function goArch(target: SeccompTarget): string {
  return ARCH[target.arch]?.go ?? target.arch;
}

function isAtLeast(kernel: SeccompTarget['kernel'], text: string): boolean {
  const [major = 0, minor = 0] = text.split('.').map(Number);
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor);
}

function isProfile(value: unknown): value is SeccompProfile {
  if (!isRecord(value) || typeof value['defaultAction'] !== 'string') return false;
  const syscalls = value['syscalls'] ?? [];
  return (
    Array.isArray(syscalls) &&
    syscalls.every(
      (rule: unknown) =>
        isRecord(rule) &&
        typeof rule['action'] === 'string' &&
        (Array.isArray(rule['names']) || typeof rule['name'] === 'string'),
    )
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
