import type { Kernel } from '../../linux/ports.js';
import type { CgroupFs } from '../cgroup/cgroup-fs.js';
import type { ContainerPaths } from './paths.js';

/**
 * What is mounted under the state folder and the network namespaces must show in the namespace crun
 * runs in, also what comes later: so both are shared mounts, made before it.
 */
export async function openCrunNamespace(
  paths: ContainerPaths,
  cgroups: CgroupFs,
  kernel: Pick<Kernel, 'mounts' | 'namespaces'>,
): Promise<string | undefined> {
  if (!cgroups.layout.hybrid) return undefined;
  const shared = [paths.stateDir, paths.netns];
  for (const folder of shared) await kernel.mounts.makeShared(folder);
  await kernel.namespaces.pinCrunMountNamespace(paths.crunNamespace, shared);
  return paths.crunNamespace;
}

/** Undoes openCrunNamespace; only when no container is left. Namespaces still in use keep their folder. */
export async function closeCrunNamespace(
  paths: ContainerPaths,
  kernel: Pick<Kernel, 'mounts' | 'namespaces'>,
): Promise<void> {
  await kernel.namespaces.unpinMountNamespace(paths.crunNamespace);
  for (const folder of [paths.stateDir, paths.netns]) {
    const mounts = await kernel.mounts.list(folder);
    if (mounts.every((path) => path === folder)) await kernel.mounts.unmount(folder);
  }
}
