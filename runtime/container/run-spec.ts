import { existsSync, mkdirSync } from 'node:fs';
import { HatobaError } from '../../common/errors.js';
import type { IdMap, Namespaces } from '../../linux/ports.js';
import { buildBundle, hostnameOf, withSeccomp, type HostFacts } from '../core/bundle.js';
import { planWantedMounts, type ReadyMount } from '../core/mount-plan.js';
import { parseNamespaceModes } from '../core/namespace-plan.js';
import type { OciSpec } from '../core/oci-spec.js';
import { resolveUser } from '../core/user.js';
import { readDevices, readThrottles } from '../oci/host-devices.js';
import { findInitProgram } from '../oci/host-facts.js';
import type { SeccompCache, SeccompProgram } from '../oci/seccomp-cache.js';
import type { Volumes } from '../volume/volumes.js';
import { writeEtc } from './etc-files.js';
import type { GroupLimits } from './group-limits.js';
import { openNamespaces, openSharedMemory, type JoinModules } from './join.js';
import { checkReachable, lendFolders, lendNetwork, lendVolume } from './own-users.js';
import type { ContainerPaths } from './paths.js';
import type { ContainerRecord } from './record.js';
import { makeFolderInRoot, readInRoot, resolveInRoot } from './rootfs-path.js';

const MAX_PASSWD_BYTES = 4 * 1024 * 1024;

export interface RunSpecModules extends JoinModules {
  paths: ContainerPaths;
  cgroupParent: string;
  volumes: Volumes;
  namespaces: Pick<Namespaces, 'setSysctls'>;
  seccomp: SeccompCache;
  host: HostFacts;
  groupLimits: GroupLimits;
}

/**
 * The OCI configuration of one run of a container whose root is mounted; its volumes and the files
 * of its own are there afterwards. Made anew for every run: devices, users and limits may be other
 * ones than last time.
 * @param options.isFirst fills volumes that are empty with what the image has in their place
 */
export async function buildRunSpec(
  record: ContainerRecord,
  options: { rootDir: string; isFirst: boolean },
  modules: RunSpecModules,
): Promise<{ spec: OciSpec; seccomp: SeccompProgram | undefined }> {
  const { config, image } = record;
  const { rootDir } = options;
  const modes = parseNamespaceModes(config.spec, config.netns);
  if (record.idMap !== undefined) {
    checkReachable(rootDir);
    await lendNetwork(config.netns, modules.namespaces);
  }
  const mounts = await openMounts(record, options, modules);
  const user = resolveUser(
    {
      user: config.spec.user !== '' ? config.spec.user : image.user,
      groups: config.spec.groups,
    },
    readInRoot(rootDir, '/etc/passwd', MAX_PASSWD_BYTES),
    readInRoot(rootDir, '/etc/group', MAX_PASSWD_BYTES),
  );
  const base = buildBundle({
    id: config.id,
    spec: config.spec,
    limits: modules.groupLimits.bound(config),
    throttles: readThrottles(config.limits),
    modes,
    namespaces: openNamespaces(config, modes, modules),
    sharedMemory: await openSharedMemory(config, modes.ipc, modules),
    cgroupParent: modules.cgroupParent,
    cgroupGroup: config.cgroupGroup,
    image,
    rootDir,
    user,
    mounts,
    files: writeEtc(config, {
      files: modules.paths.of(config.id),
      hostname: hostnameOf(config.id, config.spec, modes.uts, modules.host),
      ...(record.idMap !== undefined && { idMap: record.idMap }),
    }),
    devices: readDevices(config.spec),
    ...(config.spec.init && { initSource: findInitProgram() }),
    host: modules.host,
    ...(record.idMap !== undefined && { idMap: record.idMap }),
  });
  makeWorkingDir(rootDir, base.process.cwd, mounts, record.idMap);
  const seccomp = modules.seccomp.find({
    profile: config.spec.seccomp,
    privileged: config.spec.privileged,
    capabilities: base.process.capabilities.bounding,
  });
  return { spec: withSeccomp(base, seccomp), seccomp };
}

/** Under a mount it would be made in the image's layer, where nobody ever sees it. */
function makeWorkingDir(
  rootDir: string,
  cwd: string,
  mounts: readonly ReadyMount[],
  idMap: IdMap | undefined,
): void {
  if (mounts.some((m) => `${cwd}/`.startsWith(`${m.target}/`))) return;
  makeFolderInRoot(rootDir, cwd);
  if (idMap !== undefined) lendFolders(rootDir, resolveInRoot(rootDir, cwd), idMap);
}

async function openMounts(
  { config, image, anonymousVolumes, idMap }: ContainerRecord,
  { rootDir, isFirst }: { rootDir: string; isFirst: boolean },
  { volumes }: RunSpecModules,
): Promise<readonly ReadyMount[]> {
  const ready: ReadyMount[] = [];
  for (const mount of planWantedMounts(config.spec.mounts, image.volumes)) {
    if (mount.type === 'tmpfs') {
      ready.push(mount);
    } else if (mount.type === 'bind') {
      openBindSource(mount.source, mount.target, mount.createSource);
      ready.push(mount);
    } else {
      const { target, readOnly } = mount;
      const name = anonymousVolumes[target] ?? mount.name;
      const template = isFirst && mount.copyUp ? resolveInRoot(rootDir, target) : undefined;
      const wanted = {
        labels: mount.labels,
        driverOpts: mount.driverOpts,
        anonymous: name !== mount.name,
      };
      const source = await volumes.open(name, template, { by: config.id, wanted });
      if (idMap !== undefined) lendVolume(source, idMap);
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
