import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import type { Kernel } from '../../linux/ports.js';
import { detectCgroups } from '../../runtime/cgroup/cgroup-fs.js';
import { ContainerPaths } from '../../runtime/container/paths.js';
import {
  isAlive,
  readBootId,
  signalProcess,
  type ProcessIdentity,
} from '../../runtime/container/process-identity.js';
import { readStatus } from '../../runtime/container/record.js';
import { eventually } from './eventually.js';

/**
 * What a power cut takes: every process, mount and cgroup of the containers, and the run folder.
 * Their engine must not be open.
 */
export async function powerCut(
  folders: { root: string; stateDir: string; runDir: string; cgroupParent: string },
  kernel: Pick<Kernel, 'mounts' | 'namespaces'>,
): Promise<void> {
  const paths = new ContainerPaths(folders.stateDir, folders.runDir);
  const statuses = readdirSync(paths.containers).map((id) => readStatus(paths.of(id)));
  // conmon first: nobody is to note the exits.
  const bootId = readBootId();
  const processes = [...statuses.map((s) => s?.conmon), ...statuses.map((s) => s?.process)].filter(
    (process): process is ProcessIdentity => process !== undefined,
  );
  for (const process of processes) signalProcess(process, 9, bootId);
  await eventually(() => {
    const left = processes.filter((process) => isAlive(process, bootId));
    if (left.length > 0) throw new Error(`still there: ${left.map((p) => p.pid).join(', ')}`);
  });
  await kernel.namespaces.unpinMountNamespace(paths.crunNamespace);
  const mounts = await kernel.mounts.list(folders.root);
  for (const path of mounts.toReversed()) await kernel.mounts.unmount(path);
  for (const root of detectCgroups().roots) removeCgroup(root + folders.cgroupParent);
  for (const name of readdirSync(folders.runDir)) {
    rmSync(`${folders.runDir}/${name}`, { recursive: true });
  }
}

/** Removes a cgroup and all below it, which must be empty. */
export function removeCgroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(`${path}/${entry.name}`);
  }
  rmdirSync(path);
}
