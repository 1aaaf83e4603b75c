import { HatobaError } from '../errors.js';

/** The namespace that a kernel parameter belongs to. */
export type SysctlOwner = 'network' | 'ipc' | 'uts';

/** Kernel parameters of the IPC namespace, ipc_namespaces(7). */
const IPC_SYSCTLS: ReadonlySet<string> = new Set(
  'msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced'
    .split(' ')
    .map((name) => `kernel.${name}`),
);

/**
 * A kernel parameter that a container may have for itself: one of a namespace.
 * @param written "net.ipv4.ip_forward"; "/" is read as ".", as sysctl(8) does
 * @returns its name with dots
 * @throws {HatobaError} invalid-argument
 */
export function parseSysctl(written: string): { name: string; owner: SysctlOwner } {
  const name = toDots(written);
  if (!/^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_-]+)+$/.test(name)) refuse(name, 'it is no name of one');
  if (name === 'kernel.hostname') refuse(name, 'set the hostname of the container instead');
  const owner = ownerOf(name);
  if (owner === undefined) {
    refuse(
      name,
      "it belongs to the whole machine; only those of a container's own namespaces can be set",
    );
  }
  return { name, owner };
}

function ownerOf(name: string): SysctlOwner | undefined {
  if (name.startsWith('net.')) return 'network';
  if (IPC_SYSCTLS.has(name) || name.startsWith('fs.mqueue.')) return 'ipc';
  return name === 'kernel.domainname' ? 'uts' : undefined;
}

/** "net/ipv4/conf/eth0.5/x" keeps the dot of the interface as "/": the first separator decides. */
function toDots(name: string): string {
  const first = /[./]/.exec(name)?.[0];
  if (first !== '/') return name;
  return name.replace(/[./]/g, (c) => (c === '/' ? '.' : '/'));
}

function refuse(name: string, why: string): never {
  throw new HatobaError('invalid-argument', `sysctl ${name} cannot be set: ${why}`);
}
