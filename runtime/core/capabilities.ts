import { HatobaError } from '../../common/errors.js';
import type { OciCapabilities } from './oci-spec.js';

/** In the order of their numbers, capabilities(7). */
const ALL_CAPABILITIES = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE ' +
  'NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO ' +
  'SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME ' +
  'SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG ' +
  'WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/** What Docker gives a container. */
export const DEFAULT_CAPABILITIES: readonly string[] = (
  'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP ' +
  'SETGID SETPCAP SETUID SYS_CHROOT'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

export interface CapabilityRequest {
  /** "NET_ADMIN", "cap_net_admin" or "ALL". */
  add: readonly string[];
  drop: readonly string[];
  privileged: boolean;
}

/**
 * The capabilities of a container, sorted. Dropping wins over adding by ALL, adding by name wins
 * over dropping by ALL, as in Docker.
 * @param available the engine's own bounding set; nobody can give more than he has
 * @throws {HatobaError} invalid-argument for an unknown name; failed-precondition for one the engine
 *   itself lacks
 */
export function pickCapabilities(
  request: CapabilityRequest,
  available: ReadonlySet<string>,
): readonly string[] {
  if (request.privileged) return ALL_CAPABILITIES.filter((c) => available.has(c)).toSorted();
  const add = request.add.map(toCapability);
  const drop = request.drop.map(toCapability);
  for (const name of add) {
    if (name !== 'ALL' && !available.has(name)) {
      throw new HatobaError(
        'failed-precondition',
        `capability ${name} cannot be added: the engine itself does not have it`,
      );
    }
  }
  const base = add.includes('ALL')
    ? ALL_CAPABILITIES
    : drop.includes('ALL')
      ? []
      : DEFAULT_CAPABILITIES;
  const wanted = new Set(base.filter((c) => available.has(c)));
  for (const name of drop) wanted.delete(name);
  for (const name of add) if (name !== 'ALL') wanted.add(name);
  return [...wanted].toSorted();
}

/** The sets of a process: nothing inheritable, as Docker does since CVE-2022-24769. */
export function toCapabilitySets(names: readonly string[]): OciCapabilities {
  return { bounding: names, effective: names, permitted: names, inheritable: [] };
}

/** @param mask "CapBnd" of /proc/self/status, hexadecimal */
export function parseCapabilityMask(mask: string): ReadonlySet<string> {
  const bits = BigInt(`0x${mask.trim()}`);
  return new Set(ALL_CAPABILITIES.filter((_, bit) => ((bits >> BigInt(bit)) & 1n) === 1n));
}

function toCapability(text: string): string {
  const upper = text.toUpperCase();
  if (upper === 'ALL' || upper === 'CAP_ALL') return 'ALL';
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!ALL_CAPABILITIES.includes(name)) {
    throw new HatobaError(
      'invalid-argument',
      `"${text}" is not a capability; see capabilities(7), for example NET_ADMIN, or ALL`,
    );
  }
  return name;
}
