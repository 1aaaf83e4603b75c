import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
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
import { killIfThere } from './clean-up.js';
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
  const cgroups = detectCgroups().roots.map((root) => root + folders.cgroupParent);
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
  await emptyCgroups(cgroups);
  await kernel.namespaces.unpinMountNamespace(paths.crunNamespace);
  const mounts = await kernel.mounts.list(folders.root);
  for (const path of mounts.toReversed()) await kernel.mounts.unmount(path);
  for (const cgroup of cgroups) removeCgroup(cgroup);
  for (const name of readdirSync(folders.runDir)) {
    rmSync(`${folders.runDir}/${name}`, { recursive: true });
  }
}

/** Kills all that is in cgroups and below them, and waits for their end. */
export async function emptyCgroups(paths: readonly string[]): Promise<void> {
  await eventually(() => {
    const pids = new Set(paths.flatMap(processesIn));
    for (const pid of pids) killIfThere(pid);
    if (pids.size > 0) throw new Error(`still in ${paths[0] ?? ''}: ${[...pids].join(', ')}`);
  });
}

function processesIn(path: string): number[] {
  if (!existsSync(path)) return [];
  const files = readdirSync(path, { recursive: true, encoding: 'utf8' });
  return files
    .filter((name) => name.endsWith('cgroup.procs'))
    .flatMap((name) => readFileSync(`${path}/${name}`, 'utf8').split('\n'))
    .filter((line) => line !== '')
    .map(Number);
}

/** Removes a cgroup and all below it, which must be empty. */
export function removeCgroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(`${path}/${entry.name}`);
  }
  rmdirSync(path);
}
