import { HatobaError } from '../../common/errors.js';
import type { NamespaceModes } from './namespace-plan.js';

/** Kernel parameters of the IPC namespace, ipc_namespaces(7). */
const IPC_SYSCTLS: ReadonlySet<string> = new Set(
  'msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced'
    .split(' ')
    .map((name) => `kernel.${name}`),
);

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
      const name = toDots(written);
      checkSysctl(name, modes);
      return [name, value];
    }),
  );
}

function checkSysctl(name: string, modes: NamespaceModes): void {
  if (!/^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_-]+)+$/.test(name)) refuse(name, 'it is no name of one');
  if (name === 'kernel.hostname') refuse(name, 'set the hostname of the container instead');
  const owner = ownerOf(name);
  if (owner === undefined) {
    refuse(
      name,
      "it belongs to the whole machine; only those of a container's own namespaces can be set",
    );
  }
  const mode = modes[owner];
  if (mode === 'host') refuse(name, `the container is on the host's ${owner} namespace`);
  if (typeof mode === 'object') {
    refuse(name, `the container shares the ${owner} namespace of ${mode.container}; set it there`);
  }
}

function ownerOf(name: string): 'network' | 'ipc' | 'uts' | undefined {
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
