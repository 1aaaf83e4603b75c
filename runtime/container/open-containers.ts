import { mkdirSync } from 'node:fs';
import type { Clock } from '../../common/clock.js';
import { DisposableStack } from '../../common/disposable.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { Kernel } from '../../linux/ports.js';
import { CgroupFs, detectCgroups } from '../cgroup/cgroup-fs.js';
import { Freezer } from '../cgroup/freezer.js';
import type { ContainerConfig, Containers } from '../engine.js';
import type { EventSink } from '../events/event-bus.js';
import { Execs } from '../exec/exec.js';
import { ContainerTrees } from '../files/container-trees.js';
import { CopyThreads } from '../files/copy-threads.js';
import { HealthProber } from '../health/prober.js';
import type { ImageLookup } from '../image/image-lookup.js';
import { LogRotation } from '../log/log-rotation.js';
import { Crun } from '../oci/crun.js';
import { readHostFacts, readKernelVersion } from '../oci/host-facts.js';
import { SeccompCache } from '../oci/seccomp-cache.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import { StatsReader } from '../stats/container-stats.js';
import { Volumes } from '../volume/volumes.js';
import { Background } from './background.js';
import { LinuxContainers } from './containers.js';
import { ExitWatcher } from './exits.js';
import { GroupLimits } from './group-limits.js';
import { GroupUse } from './group-use.js';
import { KeyedMutex } from './keyed-mutex.js';
import { LimitUpdates } from './limit-updates.js';
import { ContainerPaths } from './paths.js';
import { readBootId } from './process-identity.js';
import { recoverContainers } from './recover.js';
import { ContainerRegistry } from './registry.js';
import { Restarts } from './restarts.js';
import { Starter } from './start.js';
import { Stopper } from './stop.js';
import { Teardown } from './teardown.js';
import { tellEvents } from './tell-events.js';

export interface OpenContainersOptions {
  stateDir: string;
  runDir: string;
  /** "/hatoba": parent of all containers' cgroups. */
  cgroupParent: string;
}

export interface OpenContainersModules {
  kernel: Pick<Kernel, 'spawner' | 'mounts' | 'namespaces'>;
  images: ImageLookup;
  snapshotter: Snapshotter;
  events: EventSink;
  beforeRestart?: (config: ContainerConfig) => Promise<void>;
  clock: Clock;
  random: Random;
  log: Logger;
}

/**
 * Opens the containers of a state folder: takes up those that are there, undoes half-made ones,
 * watches exits, probes health, rotates logs. Ending it ends the watching, never a container.
 */
export async function openContainers(
  options: OpenContainersOptions,
  modules: OpenContainersModules,
): Promise<{ containers: Containers } & AsyncDisposable> {
  const { kernel, snapshotter, clock, random, log } = modules;
  const paths = new ContainerPaths(options.stateDir, options.runDir);
  makeFolders(paths);
  const cgroups = new CgroupFs(detectCgroups(), paths.cgroupDecoy, clock);
  const mountNamespace = await openNamespace(paths, cgroups, kernel);
  const crun = new Crun({ root: paths.crunRoot, mountNamespace }, kernel.spawner);
  const volumes = new Volumes(paths.volumes, { spawner: kernel.spawner, random });
  await volumes.clean();
  const registry = new ContainerRegistry(paths, log);
  const groups = new GroupUse();
  const teardown = new Teardown({
    paths,
    cgroups,
    snapshotter,
    volumes,
    groups,
    mounts: kernel.mounts,
  });
  const bootId = readBootId();
  const freezer = new Freezer(cgroups.layout, clock);
  await recoverContainers({
    paths,
    registry,
    teardown,
    groups,
    snapshotter,
    crun,
    freezer,
    clock,
    log,
  });

  const end = new DisposableStack();
  end.defer('mounts', async () => {
    if (registry.list().length > 0) return;
    cgroups.removeIfEmpty(options.cgroupParent);
    if (mountNamespace !== undefined) await closeNamespace(paths, kernel);
  });
  const background = new Background(log);
  end.use('background work', background);
  const { events } = modules;
  end.defer('events', tellEvents(registry, events));
  const exits = new ExitWatcher({ paths, registry, cgroups, events, clock, log, bootId });
  end.defer('exit watch', () => exits[Symbol.dispose]());
  const execs = new Execs({ paths, crun, spawner: kernel.spawner, clock });
  const prober = new HealthProber({
    registry,
    clock,
    log,
    exec: (entry, command) =>
      execs.start(entry.record, { command, env: [], user: '', dir: '', tty: false, stdin: false }),
  });
  end.defer('health checks', () => prober[Symbol.dispose]());
  for (const { record } of registry.list()) prober.watch(record.config.id);
  const rotation = new LogRotation({ paths, registry, clock, log });
  end.defer('log rotation', () => rotation[Symbol.dispose]());
  rotation.start();

  const { arch } = process;
  const host = readHostFacts(cgroups.layout);
  const { cgroupParent } = options;
  const groupLimits = new GroupLimits({
    file: paths.groupLimits,
    cgroupParent,
    cgroups,
    groups,
    host,
  });
  const limits = new LimitUpdates({ cgroups, host });
  const create = {
    paths,
    registry,
    cgroups,
    groupLimits,
    mounts: kernel.mounts,
    cgroupParent: options.cgroupParent,
    images: modules.images,
    snapshotter,
    volumes,
    seccomp: new SeccompCache(paths.seccomp, { arch, kernel: readKernelVersion() }),
    crun,
    spawner: kernel.spawner,
    clock,
    host,
    groups,
    teardown,
    bootId,
  };
  const mutex = new KeyedMutex();
  const starter = new Starter({
    registry,
    exits,
    crun,
    clock,
    run: create,
    beforeRestart: modules.beforeRestart ?? (() => Promise.resolve()),
  });
  const stopper = new Stopper({ registry, exits, freezer, events, clock, bootId });
  const restarts = new Restarts({ registry, starter, mutex, background, clock });
  end.defer('restarts', () => restarts[Symbol.dispose]());
  const threads = new CopyThreads();
  end.use('copying threads', threads);
  const trees = new ContainerTrees({ paths, snapshotter, threads, volumes, bootId });
  const containers = new LinuxContainers({
    paths,
    registry,
    exits,
    starter,
    stopper,
    teardown,
    freezer,
    limits,
    stats: new StatsReader({ cgroups, clock }),
    execs,
    trees,
    events,
    clock,
    create,
    mutex,
    background,
  });
  exits.start();
  restarts.start();
  containers.takeUp();
  return { containers, [Symbol.asyncDispose]: () => end[Symbol.asyncDispose]() };
}

function makeFolders(paths: ContainerPaths): void {
  for (const folder of [
    paths.containers,
    paths.exits,
    paths.volumes,
    paths.seccomp,
    paths.runs,
    paths.crunRoot,
    paths.netns,
  ]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
}

/**
 * What is mounted under the state folder and the network namespaces must show in the namespace crun
 * runs in, also what comes later: so both are shared mounts, made before it.
 */
async function openNamespace(
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

/** Undoes openNamespace; only when no container is left. Namespaces still in use keep their folder. */
async function closeNamespace(
  paths: ContainerPaths,
  kernel: Pick<Kernel, 'mounts' | 'namespaces'>,
): Promise<void> {
  await kernel.namespaces.unpinMountNamespace(paths.crunNamespace);
  for (const folder of [paths.stateDir, paths.netns]) {
    const mounts = await kernel.mounts.list(folder);
    if (mounts.every((path) => path === folder)) await kernel.mounts.unmount(folder);
  }
}
