import { HatobaError } from '../../common/errors.js';
import { ALL_CAPABILITIES, parseCapability } from '../../common/model/capabilities.js';
import type { OciCapabilities } from './oci-spec.js';

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
  const add = request.add.map(parseCapability);
  const drop = request.drop.map(parseCapability);
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
