import { mkdirSync } from 'node:fs';
import type { Clock } from '../../common/clock.js';
import { DisposableStack } from '../../common/disposable.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { IdRange, Kernel } from '../../linux/ports.js';
import { CgroupFs, detectCgroups } from '../cgroup/cgroup-fs.js';
import { Freezer } from '../cgroup/freezer.js';
import type { ContainerConfig, Containers, EngineVolumes } from '../engine.js';
import type { EventSink } from '../events/event-bus.js';
import { Attachments } from '../exec/attachments.js';
import { Execs } from '../exec/exec.js';
import { ContainerTrees } from '../files/container-trees.js';
import { CopyThreads } from '../files/copy-threads.js';
import { HealthProber, type ProberModules } from '../health/prober.js';
import type { ImageLookup } from '../image/image-lookup.js';
import { LogRotation } from '../log/log-rotation.js';
import { Crun } from '../oci/crun.js';
import { readHostFacts, readKernelVersion } from '../oci/host-facts.js';
import { SeccompCache } from '../oci/seccomp-cache.js';
import { readOfferedIds } from '../oci/subordinate-ids.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import { StatsReader } from '../stats/container-stats.js';
import { LocalVolumes } from '../volume/engine-volumes.js';
import { Volumes } from '../volume/volumes.js';
import { Background } from './background.js';
import { LinuxContainers } from './containers.js';
import type { CreateModules } from './create.js';
import { closeCrunNamespace, openCrunNamespace } from './crun-namespace.js';
import { ExitWatcher } from './exits.js';
import { GroupLimits } from './group-limits.js';
import { GroupUse } from './group-use.js';
import { KeyedMutex } from '../../common/keyed-mutex.js';
import { LimitUpdates } from './limit-updates.js';
import { ContainerPaths } from './paths.js';
import { readBootId } from './process-identity.js';
import { recoverContainers } from './recover.js';
import { hasProcess, volumesOf } from './record.js';
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
  /** See EngineOptions. */
  usernsRange?: IdRange;
}

export interface OpenContainersModules {
  kernel: Pick<Kernel, 'spawner' | 'mounts' | 'namespaces' | 'sockets'>;
  images: ImageLookup;
  snapshotter: Snapshotter;
  events: EventSink;
  beforeRestart?: (config: ContainerConfig) => Promise<void>;
  clock: Clock;
  random: Random;
  log: Logger;
}

/** What all parts stand on. */
type Ground = Awaited<ReturnType<typeof openGround>>;

/**
 * Opens the containers of a state folder: takes up those that are there, undoes half-made ones,
 * watches exits, probes health, rotates logs, restarts what its rule wants. Ending it ends the
 * watching, never a container.
 */
export async function openContainers(
  options: OpenContainersOptions,
  modules: OpenContainersModules,
): Promise<{ containers: Containers; volumes: EngineVolumes } & AsyncDisposable> {
  const ground = await openGround(options, modules);
  const end = new DisposableStack();
  end.defer('mounts', () => closeGround(options, ground, modules));
  const background = end.use('background work', new Background(modules.log));
  const parts = { ...modules, ...ground, background, mutex: new KeyedMutex() };
  end.defer('events', tellEvents(ground.registry, modules.events));
  const exits = new ExitWatcher(parts);
  end.defer('exit watch', () => exits[Symbol.dispose]());
  const execs = new Execs({ ...parts, sockets: modules.kernel.sockets });
  for (const { record } of ground.registry.list()) execs.recover(record);
  watchHealth(execs, parts, end);
  const rotation = new LogRotation(parts);
  end.defer('log rotation', () => rotation[Symbol.dispose]());
  rotation.start();

  const create = toCreateModules(options, ground, modules);
  const beforeRestart = modules.beforeRestart ?? (() => Promise.resolve());
  const attachments = new Attachments({ ...parts, sockets: modules.kernel.sockets });
  end.defer('attached clients', () => attachments[Symbol.dispose]());
  const beforeLetGo = (id: string): Promise<void> => attachments.onRunMade(id);
  const starter = new Starter({ ...parts, exits, run: create, beforeRestart, beforeLetGo });
  const restarts = new Restarts({ ...parts, starter });
  end.defer('restarts', () => restarts[Symbol.dispose]());
  const threads = end.use('copying threads', new CopyThreads());
  const containers = new LinuxContainers({
    ...parts,
    exits,
    starter,
    stopper: new Stopper({ ...parts, exits }),
    limits: new LimitUpdates(create),
    stats: new StatsReader(parts),
    execs,
    attachments,
    trees: new ContainerTrees({ ...parts, threads }),
    create,
  });
  exits.start();
  restarts.start();
  containers.takeUp();
  const volumes = new LocalVolumes({ ...parts, threads });
  return { containers, volumes, [Symbol.asyncDispose]: () => end[Symbol.asyncDispose]() };
}

/** Folders, cgroups and mounts, and the containers an earlier engine left. */
async function openGround(
  options: OpenContainersOptions,
  { kernel, snapshotter, events, clock, random, log }: OpenContainersModules,
) {
  const paths = new ContainerPaths(options.stateDir, options.runDir);
  makeFolders(paths);
  const cgroups = new CgroupFs(detectCgroups(), paths.cgroupDecoy, clock);
  const mountNamespace = await openCrunNamespace(paths, cgroups, kernel);
  const crun = new Crun({ root: paths.crunRoot, mountNamespace }, kernel.spawner);
  const { mounts, spawner } = kernel;
  const registry = new ContainerRegistry(paths, log);
  const volumeModules = { spawner, mounts, random, clock, events, registry };
  const volumes = new Volumes(paths.volumes, volumeModules);
  await volumes.clean();
  const groups = new GroupUse();
  const teardown = new Teardown({ paths, cgroups, snapshotter, volumes, groups, mounts });
  const freezer = new Freezer(cgroups.layout, clock);
  const host = readHostFacts(cgroups.layout);
  const bootId = readBootId();
  const ground = { paths, cgroups, crun, volumes, registry, groups, teardown, freezer };
  await recoverContainers({ ...ground, snapshotter, clock, log });
  await takeUpVolumes(volumes, registry);
  return { ...ground, host, bootId, mountNamespace };
}

/** Volumes are used by those that run, since before this engine was opened. */
async function takeUpVolumes(volumes: Volumes, registry: ContainerRegistry): Promise<void> {
  for (const entry of registry.list()) {
    if (hasProcess(entry)) volumes.takeUp(entry.record.config.id, volumesOf(entry.record));
  }
  await volumes.unmountUnused();
}

async function closeGround(
  { cgroupParent }: OpenContainersOptions,
  { registry, cgroups, paths, mountNamespace }: Ground,
  { kernel }: OpenContainersModules,
): Promise<void> {
  if (registry.list().length > 0) return;
  cgroups.removeIfEmpty(cgroupParent);
  if (mountNamespace !== undefined) await closeCrunNamespace(paths, kernel);
}

function toCreateModules(
  { cgroupParent, usernsRange }: OpenContainersOptions,
  ground: Ground,
  modules: OpenContainersModules,
): CreateModules {
  const { paths } = ground;
  const { spawner, mounts, namespaces } = modules.kernel;
  return {
    ...modules,
    ...ground,
    cgroupParent,
    spawner,
    mounts,
    namespaces,
    offeredIds: readOfferedIds(usernsRange),
    groupLimits: new GroupLimits({ ...ground, cgroupParent, file: paths.groupLimits }),
    seccomp: new SeccompCache(paths.seccomp, {
      arch: process.arch,
      kernel: readKernelVersion(),
    }),
  };
}

function watchHealth(
  execs: Execs,
  modules: Pick<ProberModules, 'registry' | 'clock' | 'log'>,
  end: DisposableStack,
): void {
  const prober = new HealthProber({
    ...modules,
    exec: (entry, command) =>
      execs.start(entry.record, { command, env: [], user: '', dir: '', tty: false, stdin: false }),
  });
  end.defer('health checks', () => prober[Symbol.dispose]());
  for (const { record } of modules.registry.list()) prober.watch(record.config.id);
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
