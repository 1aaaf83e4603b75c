import { HatobaError } from '../../common/errors.js';

/** Where everything of the containers lies. */
export class ContainerPaths {
  readonly stateDir: string;
  readonly runDir: string;

  /** @throws {HatobaError} invalid-argument for a folder conmon could not be told of */
  constructor(stateDir: string, runDir: string) {
    for (const folder of [stateDir, runDir]) {
      // conmon cuts its --log-path at ":", nsenter and crun take absolute paths only.
      if (!folder.startsWith('/') || folder.includes(':')) {
        throw new HatobaError(
          'invalid-argument',
          `folder "${folder}" must be absolute and without ":"`,
        );
      }
    }
    this.stateDir = stateDir;
    this.runDir = runDir;
  }

  get containers(): string {
    return `${this.stateDir}/containers`;
  }
  /** conmon leaves one file per container here, named by its id: the exit code. */
  get exits(): string {
    return `${this.stateDir}/exits`;
  }
  get volumes(): string {
    return `${this.stateDir}/volumes`;
  }
  get seccomp(): string {
    return `${this.stateDir}/seccomp`;
  }
  /** What each container needs while it runs; made anew for every run, gone with a reboot. */
  get runs(): string {
    return `${this.runDir}/containers`;
  }
  /** Limits of cgroup groups, by name. */
  get groupLimits(): string {
    return `${this.stateDir}/group-limits.json`;
  }
  get crunRoot(): string {
    return `${this.runDir}/crun`;
  }
  /** In a folder of its own, which becomes a private mount. */
  get crunNamespace(): string {
    return `${this.runDir}/mnt/crun`;
  }
  /** See Namespaces.pinCrunMountNamespace. */
  get cgroupDecoy(): string {
    return `${this.runDir}/mnt/cgroup2`;
  }
  /** Where callers keep network namespaces; shared with the crun namespace. */
  get netns(): string {
    return `${this.runDir}/netns`;
  }

  of(id: string): ContainerFiles {
    return new ContainerFiles(`${this.containers}/${id}`, `${this.runs}/${id}`);
  }
  exitOf(id: string): string {
    return `${this.exits}/${id}`;
  }
  crunOf(id: string): string {
    return `${this.crunRoot}/${id}`;
  }
}

/** The files of one container: those that are kept, and those of its present run. */
export class ContainerFiles {
  readonly dir: string;
  /** OCI bundle, and where conmon stands; on a tmpfs, as a rule. */
  readonly bundle: string;

  constructor(dir: string, bundle: string) {
    this.dir = dir;
    this.bundle = bundle;
  }

  /** What it was made from; written first, replaced when it is renamed or updated. */
  get record(): string {
    return `${this.dir}/config.json`;
  }
  /** What it is now; until it exists the container is half made. */
  get status(): string {
    return `${this.dir}/state.json`;
  }
  /** Is there while the container is being removed. */
  get removal(): string {
    return `${this.dir}/removal`;
  }
  get spec(): string {
    return `${this.bundle}/config.json`;
  }
  /** conmon's fifo for messages. */
  get control(): string {
    return `${this.bundle}/ctl`;
  }
  get pidFile(): string {
    return `${this.bundle}/pid`;
  }
  get conmonPidFile(): string {
    return `${this.bundle}/conmon.pid`;
  }
  /** conmon makes it when the kernel has killed one of the container's processes for memory. */
  get oomFlag(): string {
    return `${this.bundle}/oom`;
  }
  /** Folder of the container's own /etc/hosts, hostname and resolv.conf. */
  get etc(): string {
    return this.bundle;
  }
  /** Mount point of its shared memory, where other containers may join that. */
  get shm(): string {
    return `${this.dir}/shm`;
  }
  get logDir(): string {
    return `${this.dir}/log`;
  }
  get log(): string {
    return `${this.dir}/log/container.log`;
  }
}
