import { HatobaError } from '../../common/errors.js';
import { parseSysctl, type SysctlOwner } from '../../common/model/sysctls.js';
import type { NamespaceModes } from './namespace-plan.js';

/**
 * The kernel parameters of a container, by their names with dots. Only those of a namespace that is
 * the container's own: any other would change the machine, or another container.
 * @param sysctls {"net.ipv4.ip_forward": "1"}; "/" in a name is read as ".", as sysctl(8) does
 * @throws {HatobaError} invalid-argument
 */
export function planSysctls(
  sysctls: Readonly<Record<string, string>>,
  modes: NamespaceModes,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(sysctls).map(([written, value]) => {
      const { name, owner } = parseSysctl(written);
      checkOwner(name, owner, modes);
      return [name, value];
    }),
  );
}

function checkOwner(name: string, owner: SysctlOwner, modes: NamespaceModes): void {
  const mode = modes[owner];
  if (mode === 'host') refuse(name, `the container is on the host's ${owner} namespace`);
  if (typeof mode === 'object') {
    refuse(name, `the container shares the ${owner} namespace of ${mode.container}; set it there`);
  }
}

function refuse(name: string, why: string): never {
  throw new HatobaError('invalid-argument', `sysctl ${name} cannot be set: ${why}`);
}
