import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DisposableStack } from '../../common/disposable.js';
import type { Mounts } from '../../linux/ports.js';
import type { CgroupFs } from '../cgroup/cgroup-fs.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import type { Volumes } from '../volume/volumes.js';
import type { GroupUse } from './group-use.js';
import type { ContainerPaths } from './paths.js';
import type { ContainerRecord } from './record.js';
import { sendSignal } from '../oci/send-signal.js';

export interface TeardownModules {
  paths: ContainerPaths;
  cgroups: CgroupFs;
  snapshotter: Snapshotter;
  volumes: Volumes;
  groups: GroupUse;
  mounts: Pick<Mounts, 'unmount'>;
}

/**
 * Takes away what containers leave, each part by itself; "already gone" is success everywhere. Done
 * by Hatoba and not by `crun delete`, which takes 20 ms for what is one unmount and some rmdir.
 */
export class Teardown {
  readonly #modules: TeardownModules;

  constructor(modules: TeardownModules) {
    this.#modules = modules;
  }

  /**
   * Everything of an ended container; all steps run, whatever the others throw. The folder with the
   * record goes when all else has gone, so that a later call knows what to go on with.
   */
  async all(
    id: string,
    record: ContainerRecord | undefined,
    options: { keepVolumes?: boolean } = {},
  ): Promise<void> {
    // Runs from the last to the first.
    const steps = new DisposableStack();
    if (record !== undefined && options.keepVolumes !== true) {
      steps.defer('removing anonymous volumes', () => this.volumes(record));
    }
    steps.defer('removing the writable layer', () => this.#modules.snapshotter.remove(id));
    steps.defer('removing what its last run left', () => this.run(id, record));
    await steps[Symbol.asyncDispose]();
    await this.folder(id);
  }

  /**
   * What one run of a container leaves: processes, cgroup, what crun knows, the bundle. Its root
   * stays mounted, and conmon's exit file where it is, for those who have not yet read it.
   */
  async run(id: string, record: ContainerRecord | undefined): Promise<void> {
    const { paths } = this.#modules;
    const steps = new DisposableStack();
    steps.defer('leaving volumes', () => this.#modules.volumes.leave(id));
    steps.defer('removing the bundle', () =>
      rm(paths.of(id).bundle, { recursive: true, force: true }),
    );
    steps.defer('removing what crun knows', () =>
      rm(paths.crunOf(id), { recursive: true, force: true }),
    );
    if (record !== undefined) steps.defer('removing cgroups', () => this.cgroup(record));
    await steps[Symbol.asyncDispose]();
  }

  /** Kills what still runs in the container's cgroup, then removes it. */
  async cgroup(record: Pick<ContainerRecord, 'cgroupPath'>): Promise<void> {
    const { cgroups } = this.#modules;
    for (const pid of cgroups.allProcesses(record.cgroupPath)) sendSignal(pid, 'SIGKILL');
    await cgroups.remove(record.cgroupPath);
  }

  /** Its anonymous ones, unless another container was given them by their names. */
  async volumes(record: Pick<ContainerRecord, 'anonymousVolumes' | 'config'>): Promise<void> {
    const { volumes } = this.#modules;
    for (const name of Object.values(record.anonymousVolumes)) {
      const others = volumes.holdersOf(name).filter((other) => other !== record.config.name);
      if (others.length === 0) await volumes.remove(name);
    }
  }

  /** The container's own folder, the last to go, and conmon's exit file. */
  async folder(id: string): Promise<void> {
    const { paths } = this.#modules;
    const { dir, shm } = paths.of(id);
    if (existsSync(shm)) await this.#modules.mounts.unmount(shm);
    await rm(paths.exitOf(id), { force: true });
    await rm(dir, { recursive: true, force: true });
  }

  /** A container (or the attempt at one) needs its group's cgroup no more. */
  leaveGroup(record: Pick<ContainerRecord, 'cgroupPath'>): void {
    const group = dirname(record.cgroupPath);
    if (this.#modules.groups.leave(group)) this.#modules.cgroups.removeIfEmpty(group);
  }

  /** Ids of all folders of containers, whole or not. */
  listFolders(): readonly string[] {
    return readdirSync(this.#modules.paths.containers);
  }
}
