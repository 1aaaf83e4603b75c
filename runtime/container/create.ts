import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.js';
import { DisposableStack } from '../../common/disposable.js';
import { describeError, errnoOf, HatobaError, kindOf } from '../../common/errors.js';
import type { Spawner } from '../../linux/ports.js';
import { buildBundle, hostnameOf, withSeccomp, type HostFacts } from '../core/bundle.js';
import { cgroupPathOf } from '../core/cgroup-plan.js';
import { planHealthCheck } from '../core/health-machine.js';
import { formatHosts, formatResolvConf } from '../core/host-files.js';
import { planWantedMounts, type ReadyMount, type WantedMount } from '../core/mount-plan.js';
import { formatOciJson, type OciSpec } from '../core/oci-spec.js';
import { parseSignal } from '../core/signals.js';
import { resolveUser } from '../core/user.js';
import type { ContainerConfig } from '../engine.js';
import type { ImageLookup, LocalImage } from '../image/image-lookup.js';
import { createUnderConmon } from '../oci/conmon.js';
import type { Crun } from '../oci/crun.js';
import { findInitProgram, readDevices } from '../oci/host-facts.js';
import { endMakers } from '../oci/makers.js';
import type { SeccompCache, SeccompProgram } from '../oci/seccomp-cache.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import type { Volumes } from '../volume/volumes.js';
import type { GroupUse } from './group-use.js';
import type { ContainerPaths } from './paths.js';
import { identifyProcess } from './process-identity.js';
import { writeRecord, writeStatus, type ContainerEntry, type ContainerRecord } from './record.js';
import { makeFolderInRoot, readInRoot, resolveInRoot } from './rootfs-path.js';
import type { Teardown } from './teardown.js';

const MAX_PASSWD_BYTES = 4 * 1024 * 1024;
const HOST_RESOLV_CONF = '/etc/resolv.conf';

export interface CreateModules {
  paths: ContainerPaths;
  cgroupParent: string;
  images: ImageLookup;
  snapshotter: Snapshotter;
  volumes: Volumes;
  seccomp: SeccompCache;
  crun: Crun;
  spawner: Spawner;
  clock: Clock;
  host: HostFacts;
  groups: GroupUse;
  teardown: Teardown;
  bootId: string;
}

interface Draft {
  config: ContainerConfig;
  image: LocalImage;
  record: ContainerRecord;
  mounts: readonly WantedMount[];
}

/**
 * Makes a container up to its waiting process: a list of steps, each with its undo. Its record is on
 * disk before the first step, so that a new engine can undo what a killed one left; its status is
 * written last, and tells that it is whole.
 * @throws {HatobaError} not-found for the image; invalid-argument; already-exists; and what failed
 */
export async function createContainer(
  config: ContainerConfig,
  modules: CreateModules,
): Promise<ContainerEntry> {
  const draft = await planContainer(config, modules);
  const { record } = draft;
  const { paths, teardown, snapshotter, groups } = modules;
  const undo = new DisposableStack();
  try {
    makeFolders(config.id, paths);
    undo.defer('folder', () => teardown.folder(config.id));
    writeRecord(paths.of(config.id), record);

    undo.defer('snapshot', () => snapshotter.remove(config.id));
    await snapshotter.prepare(config.id, draft.image.chain);
    const { rootDir } = await snapshotter.mount(config.id);

    undo.defer('anonymous volumes', () => teardown.volumes(record));
    const { spec, seccomp } = await buildSpec(draft, rootDir, modules);
    writeFileSync(paths.of(config.id).spec, formatOciJson(spec), { mode: 0o600 });

    groups.enter(dirname(record.cgroupPath));
    undo.defer('group', () => teardown.leaveGroup(record));
    undo.defer('runtime', () => teardown.runtime(config.id));
    undo.defer('cgroup', () => teardown.cgroup(record));
    // It may still be at work when it was too slow.
    undo.defer('conmon and crun', () => endMakers(paths.of(config.id).bundle, modules.clock));
    const entry = await createProcess(record, modules);
    writeStatus(paths.of(config.id), entry.status);
    if (seccomp !== undefined && 'key' in seccomp) {
      modules.seccomp.keep(seccomp.key, paths.crunOf(config.id));
    }
    undo.move();
    return entry;
  } catch (cause) {
    const error = explainFullDisk(cause, config.id, paths.stateDir);
    await undoAll(undo, error);
    throw error;
  }
}

function explainFullDisk(error: unknown, id: string, folder: string): unknown {
  if (!['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')) return error;
  const text = `creating container ${id}: no space left in ${folder}; remove what is not needed`;
  return new HatobaError('resource-exhausted', text, { cause: error });
}

async function undoAll(undo: DisposableStack, cause: unknown): Promise<void> {
  try {
    await undo[Symbol.asyncDispose]();
  } catch (error) {
    throw new HatobaError(
      kindOf(cause),
      `${describeError(cause)}; undoing the creation: ${describeError(error)}`,
      { cause },
    );
  }
}

/** All that can be refused before anything is touched. */
async function planContainer(config: ContainerConfig, modules: CreateModules): Promise<Draft> {
  const { spec } = config;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(config.id)) {
    throw new HatobaError('invalid-argument', `"${config.id}" cannot be a container's id`);
  }
  const image = await modules.images.lookup(spec.image);
  if (image === undefined) {
    throw new HatobaError(
      'not-found',
      `image "${spec.image}" is not on this machine; pull or load it first`,
    );
  }
  const mounts = planWantedMounts(spec.mounts, image.config.volumes);
  const anonymous = mounts.filter((m) => m.type === 'volume' && m.name === '');
  const health = planHealthCheck(spec.healthcheck, image.config.healthcheck);
  const record: ContainerRecord = {
    config,
    imageId: image.image.id,
    cgroupPath: cgroupPathOf(modules.cgroupParent, config.cgroupGroup, config.id),
    stopSignal: parseSignal(
      [spec.stopSignal, image.config.stopSignal].find((s) => s !== '') ?? 'SIGTERM',
    ),
    anonymousVolumes: Object.fromEntries(
      anonymous.map((m) => [m.target, modules.volumes.anonymousName()]),
    ),
    ...(health !== undefined && { health }),
    createdAtMs: modules.clock.nowMs(),
  };
  return { config, image, record, mounts };
}

function makeFolders(id: string, paths: ContainerPaths): void {
  const files = paths.of(id);
  try {
    mkdirSync(files.dir, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    throw new HatobaError('already-exists', `container ${id} is on this machine already`, {
      cause: error,
    });
  }
  for (const folder of [files.bundle, files.etc, files.logDir]) mkdirSync(folder, { mode: 0o700 });
  // conmon of an earlier attempt under this id may have left one after all was undone.
  rmSync(paths.exitOf(id), { force: true });
}

async function buildSpec(
  draft: Draft,
  rootDir: string,
  modules: CreateModules,
): Promise<{ spec: OciSpec; seccomp: SeccompProgram | undefined }> {
  const { config, image } = draft;
  const mounts = await openMounts(draft, rootDir, modules);
  const user = resolveUser(
    {
      user: config.spec.user !== '' ? config.spec.user : image.config.user,
      groups: config.spec.groups,
    },
    readInRoot(rootDir, '/etc/passwd', MAX_PASSWD_BYTES),
    readInRoot(rootDir, '/etc/group', MAX_PASSWD_BYTES),
  );
  const base = buildBundle({
    id: config.id,
    spec: config.spec,
    limits: config.limits,
    netns: config.netns,
    cgroupParent: modules.cgroupParent,
    cgroupGroup: config.cgroupGroup,
    image: image.config,
    rootDir,
    user,
    mounts,
    files: writeEtc(config, modules.paths),
    devices: readDevices(config.spec.devices),
    ...(config.spec.init && { initSource: findInitProgram() }),
    host: modules.host,
  });
  makeWorkingDir(rootDir, base.process.cwd, mounts);
  const seccomp = modules.seccomp.find({
    profile: config.spec.seccomp,
    privileged: config.spec.privileged,
    capabilities: base.process.capabilities.bounding,
  });
  return { spec: withSeccomp(base, seccomp), seccomp };
}

/** Under a mount it would be made in the image's layer, where nobody ever sees it. */
function makeWorkingDir(rootDir: string, cwd: string, mounts: readonly ReadyMount[]): void {
  if (mounts.some((m) => `${cwd}/`.startsWith(`${m.target}/`))) return;
  makeFolderInRoot(rootDir, cwd);
}

async function openMounts(
  draft: Draft,
  rootDir: string,
  modules: CreateModules,
): Promise<readonly ReadyMount[]> {
  const ready: ReadyMount[] = [];
  for (const mount of draft.mounts) {
    if (mount.type === 'tmpfs') {
      ready.push(mount);
    } else if (mount.type === 'bind') {
      openBindSource(mount.source, mount.target, mount.createSource);
      ready.push(mount);
    } else {
      const { target, readOnly } = mount;
      const name = draft.record.anonymousVolumes[target] ?? mount.name;
      const template = mount.copyUp ? resolveInRoot(rootDir, target) : undefined;
      const source = await modules.volumes.open(name, template);
      ready.push({ type: 'bind', source, target, readOnly, propagation: 'rprivate' });
    }
  }
  return ready;
}

function openBindSource(source: string, target: string, create: boolean): void {
  if (existsSync(source)) return;
  if (!create) {
    throw new HatobaError(
      'invalid-argument',
      `mount of ${target}: ${source} is not on this node; create it there, or let it be created (create_host_path)`,
    );
  }
  mkdirSync(source, { recursive: true, mode: 0o755 });
}

/** @returns target → path of the file on the host */
function writeEtc(config: ContainerConfig, paths: ContainerPaths): Record<string, string> {
  const { etc } = paths.of(config.id);
  const { spec } = config;
  const texts = {
    hosts: formatHosts(config.hosts, spec.hosts),
    hostname: `${hostnameOf(config.id, spec)}\n`,
    'resolv.conf': resolvConf(config),
  };
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => {
      writeFileSync(`${etc}/${name}`, text, { mode: 0o644 });
      return [`/etc/${name}`, `${etc}/${name}`];
    }),
  );
}

/** On the host's network, without servers of its own, a container asks whom the host asks. */
function resolvConf(config: ContainerConfig): string {
  const own = config.spec.dnsConfig;
  const pick = (key: 'nameservers' | 'search' | 'options'): readonly string[] =>
    config.dns[key].length > 0 ? config.dns[key] : (own?.[key] ?? []);
  const dns = {
    nameservers: pick('nameservers'),
    search: pick('search'),
    options: pick('options'),
  };
  const isEmpty = Object.values(dns).every((list) => list.length === 0);
  return isEmpty && config.netns === 'host' && existsSync(HOST_RESOLV_CONF)
    ? readFileSync(HOST_RESOLV_CONF, 'utf8')
    : formatResolvConf(dns);
}

async function createProcess(
  record: ContainerRecord,
  modules: CreateModules,
): Promise<ContainerEntry> {
  const { id, name, spec } = record.config;
  const files = modules.paths.of(id);
  const { pid, conmonPid } = await createUnderConmon(
    {
      id,
      name,
      bundle: files.bundle,
      log: files.log,
      exitDir: modules.paths.exits,
      pidFile: files.pidFile,
      conmonPidFile: files.conmonPidFile,
      terminal: spec.tty,
      stdin: spec.openStdin,
    },
    modules,
  );
  const process = identifyProcess(pid, modules.bootId);
  const conmon = identifyProcess(conmonPid, modules.bootId);
  return {
    record,
    status: {
      status: 'created',
      ...(process !== undefined && { process }),
      ...(conmon !== undefined && { conmon }),
      health: 'none',
      healthOutput: '',
      failingStreak: 0,
      oomKilled: false,
    },
  };
}
