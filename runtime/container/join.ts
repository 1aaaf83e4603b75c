import { mkdirSync } from 'node:fs';
import { HatobaError } from '../../common/errors.js';
import type { Mounts } from '../../linux/ports.js';
import { DEFAULT_SHM_BYTES, type SharedMemory } from '../core/mount-plan.js';
import {
  joinedContainers,
  type Joinable,
  type JoinMode,
  type NamespaceModes,
} from '../core/namespace-plan.js';
import type { ContainerConfig } from '../engine.js';
import type { ContainerPaths } from './paths.js';
import { isAlive } from './process-identity.js';
import type { ContainerEntry } from './record.js';
import type { ContainerRegistry } from './registry.js';

/** What a container has in common with others or with the machine. */
export interface JoinModules {
  registry: Pick<ContainerRegistry, 'find'>;
  paths: ContainerPaths;
  mounts: Pick<Mounts, 'tmpfs' | 'list'>;
  bootId: string;
}

const NAMESPACE_FILES: Readonly<Record<Joinable, string>> = {
  pid: 'pid',
  ipc: 'ipc',
  network: 'net',
};
const HOST_SHM = '/dev/shm';

/**
 * Namespace files for the network its caller made and for each namespace that is another
 * container's. As in Docker, that one must run now; when it ends, what joined its pid namespace is
 * killed by the kernel, and what joined another keeps it.
 * @throws {HatobaError} not-found; failed-precondition when it does not run
 */
export function openNamespaces(
  config: ContainerConfig,
  modes: NamespaceModes,
  modules: JoinModules,
): Readonly<Partial<Record<Joinable, string>>> {
  const joined = joinedContainers(modes).map(({ kind, container }) => {
    const { pid } = mustLive(findJoined(config.id, container, modules), modules.bootId);
    return [kind, `/proc/${pid}/ns/${NAMESPACE_FILES[kind]}`] as const;
  });
  return {
    ...(modes.network === 'own' && { network: config.netns }),
    ...Object.fromEntries(joined),
  };
}

/**
 * What a container gets at /dev/shm. One that others may join has it outside of its own mount
 * namespace, from where theirs can take it.
 * @throws {HatobaError} failed-precondition for joining one that is not shareable
 */
export async function openSharedMemory(
  config: ContainerConfig,
  ipc: NamespaceModes['ipc'],
  modules: JoinModules,
): Promise<SharedMemory> {
  if (ipc === 'none') return { kind: 'none' };
  if (ipc === 'host') return { kind: 'shared', source: HOST_SHM };
  if (ipc === 'own') return { kind: 'own', sizeBytes: config.spec.shmSizeBytes };
  if (ipc !== 'shareable') return { kind: 'shared', source: joinedShm(config.id, ipc, modules) };
  const source = modules.paths.of(config.id).shm;
  mkdirSync(source, { recursive: true, mode: 0o700 });
  if (!(await modules.mounts.list(source)).includes(source)) {
    const wanted = config.spec.shmSizeBytes;
    const sizeBytes = wanted > 0 ? wanted : DEFAULT_SHM_BYTES;
    await modules.mounts.tmpfs(source, { sizeBytes, mode: 0o1777 });
  }
  return { kind: 'shared', source };
}

function joinedShm(id: string, { container }: JoinMode, modules: JoinModules): string {
  const { config } = findJoined(id, container, modules).record;
  if (config.spec.ipcMode !== 'shareable') {
    throw new HatobaError(
      'failed-precondition',
      `the ipc namespace of container ${container} cannot be joined: create it with ipc mode "shareable"`,
    );
  }
  return modules.paths.of(config.id).shm;
}

function findJoined(id: string, text: string, { registry }: JoinModules): ContainerEntry {
  const found = registry.find(text);
  if (found.record.config.id !== id) return found;
  throw new HatobaError('invalid-argument', `container ${text} cannot join its own namespaces`);
}

function mustLive({ record, status }: ContainerEntry, bootId: string): { pid: number } {
  const { process } = status;
  const isUp = status.status === 'running' || status.status === 'paused';
  if (isUp && process !== undefined && isAlive(process, bootId)) return process;
  throw new HatobaError(
    'failed-precondition',
    `the namespace of container ${record.config.name} cannot be joined: it is not running (${status.status})`,
  );
}
