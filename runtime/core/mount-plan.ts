import { HatobaError } from '../../common/errors.js';
import type { Mount } from '../../proto/gen/hatoba/v1/types.js';
import type { OciMount } from './oci-spec.js';
import { INIT_PATH } from './process-plan.js';

export const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;
const SHM_PATH = '/dev/shm';
const PROPAGATIONS = ['rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'] as const;
export type Propagation = (typeof PROPAGATIONS)[number];

/** A mount as it was asked for, checked; targets are absolute and normal. */
export type WantedMount =
  | {
      type: 'bind';
      source: string;
      target: string;
      readOnly: boolean;
      propagation: Propagation;
      createSource: boolean;
    }
  | {
      type: 'volume';
      /** Empty for an anonymous volume. */
      name: string;
      target: string;
      readOnly: boolean;
      copyUp: boolean;
      /** For a volume that is made by this. */
      labels: Readonly<Record<string, string>>;
      driverOpts: Readonly<Record<string, string>>;
    }
  | { type: 'tmpfs'; target: string; readOnly: boolean; sizeBytes: number; mode: number };

/** What is at /dev/shm: a file system of the container's own, one that it shares, or nothing. */
export type SharedMemory =
  { kind: 'own'; sizeBytes: number } | { kind: 'shared'; source: string } | { kind: 'none' };

/** A mount whose source on the host is known. */
export type ReadyMount =
  | { type: 'bind'; source: string; target: string; readOnly: boolean; propagation: Propagation }
  | Extract<WantedMount, { type: 'tmpfs' }>;

/**
 * The container's mounts, and an anonymous volume for each volume of the image that none of them
 * covers; parents before children.
 * @throws {HatobaError} invalid-argument for a target, source or option that cannot be
 */
export function planWantedMounts(
  mounts: readonly Mount[],
  imageVolumes: readonly string[],
): readonly WantedMount[] {
  const wanted = mounts.map(toWanted);
  const targets = new Set<string>();
  for (const { target } of wanted) {
    if (targets.has(target)) {
      throw new HatobaError('invalid-argument', `two mounts have the target ${target}`);
    }
    targets.add(target);
  }
  const anonymous = imageVolumes
    .map((path) => normalPath(path))
    .filter((path): path is string => path !== undefined && path !== '/' && !targets.has(path))
    .map((target): WantedMount => {
      return {
        type: 'volume',
        name: '',
        target,
        readOnly: false,
        copyUp: true,
        labels: {},
        driverOpts: {},
      };
    });
  return [...wanted, ...anonymous].toSorted((a, b) => depth(a.target) - depth(b.target));
}

/** What the engine itself mounts, and the container's own, in the order they are to be made. */
export function planMounts(options: {
  mounts: readonly ReadyMount[];
  /** Own files of the container: target → path on the host. */
  files: Readonly<Record<string, string>>;
  privileged: boolean;
  sharedMemory: SharedMemory;
  initSource?: string;
}): readonly OciMount[] {
  const taken = new Set(options.mounts.map((m) => m.target));
  const files = Object.entries(options.files).map(([destination, source]): OciMount => {
    return { destination, type: 'bind', source, options: ['rbind', 'rprivate', 'rw'] };
  });
  const own = [...planSystemMounts(options), ...files].filter((m) => !taken.has(m.destination));
  const init: OciMount[] =
    options.initSource === undefined
      ? []
      : [
          {
            destination: INIT_PATH,
            type: 'bind',
            source: options.initSource,
            options: ['bind', 'ro'],
          },
        ];
  return [...own, ...init, ...options.mounts.map(toOciMount)];
}

/** What the root's propagation must be so that a mount's can work; undefined = private. */
export function planRootPropagation(mounts: readonly ReadyMount[]): string | undefined {
  const wanted = mounts.flatMap((m) => (m.type === 'bind' ? [m.propagation] : []));
  if (wanted.some((p) => p.endsWith('shared'))) return 'rshared';
  return wanted.some((p) => p.endsWith('slave')) ? 'rslave' : undefined;
}

/** Without "." and "..", doubled and trailing slashes; undefined when relative. */
export function normalPath(path: string): string | undefined {
  if (!path.startsWith('/')) return undefined;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function toWanted(mount: Mount): WantedMount {
  const target = normalPath(mount.target);
  if (target === undefined || target === '/') {
    throw new HatobaError(
      'invalid-argument',
      `mount target "${mount.target}" must be an absolute path and not "/"`,
    );
  }
  const { readOnly } = mount;
  switch (mount.type) {
    case 'MOUNT_TYPE_BIND': {
      const source = normalPath(mount.source);
      if (source === undefined) {
        throw new HatobaError(
          'invalid-argument',
          `mount of ${target}: the source "${mount.source}" must be an absolute path`,
        );
      }
      const propagation = toPropagation(mount.bindOptions?.propagation ?? '', target);
      const createSource = mount.bindOptions?.createMountpoint ?? false;
      return { type: 'bind', source, target, readOnly, propagation, createSource };
    }
    case 'MOUNT_TYPE_VOLUME':
      return toVolume(mount, target);
    case 'MOUNT_TYPE_TMPFS': {
      const { sizeBytes = 0, mode = 0 } = mount.tmpfsOptions ?? {};
      return { type: 'tmpfs', target, readOnly, sizeBytes, mode: mode === 0 ? 0o1777 : mode };
    }
  }
}

function toVolume(mount: Mount, target: string): WantedMount {
  const driver = mount.volumeOptions?.driver ?? '';
  if (driver !== '' && driver !== 'local') {
    throw new HatobaError(
      'unimplemented',
      `mount of ${target}: there is no volume driver "${driver}"; only "local" is known`,
    );
  }
  if (mount.source !== '' && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(mount.source)) {
    throw new HatobaError(
      'invalid-argument',
      `mount of ${target}: "${mount.source}" is not a volume name (letters, digits, "_", ".", "-")`,
    );
  }
  const copyUp = !(mount.volumeOptions?.noCopy ?? false);
  const { labels = {}, driverOpts = {} } = mount.volumeOptions ?? {};
  const { readOnly, source: name } = mount;
  return { type: 'volume', name, target, readOnly, copyUp, labels, driverOpts };
}

function toPropagation(text: string, target: string): Propagation {
  if (text === '') return 'rprivate';
  const found = PROPAGATIONS.find((p) => p === text);
  if (found !== undefined) return found;
  throw new HatobaError(
    'invalid-argument',
    `mount of ${target}: propagation "${text}" is none of ${PROPAGATIONS.join(', ')}`,
  );
}

function toOciMount(mount: ReadyMount): OciMount {
  const access = mount.readOnly ? 'ro' : 'rw';
  if (mount.type === 'bind') {
    const options = ['rbind', mount.propagation, access];
    return { destination: mount.target, type: 'bind', source: mount.source, options };
  }
  const size = mount.sizeBytes > 0 ? [`size=${mount.sizeBytes}`] : [];
  const options = ['nosuid', 'nodev', 'noexec', access, `mode=${mount.mode.toString(8)}`, ...size];
  return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options };
}

function planSystemMounts(options: {
  privileged: boolean;
  sharedMemory: SharedMemory;
}): readonly OciMount[] {
  const access = options.privileged ? 'rw' : 'ro';
  const safe = ['nosuid', 'noexec', 'nodev'];
  const row = (type: string, destination: string, own: readonly string[]): OciMount => {
    return { destination, type, source: type, options: own };
  };
  return [
    row('proc', '/proc', safe),
    row('tmpfs', '/dev', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    row('devpts', '/dev/pts', [
      'nosuid',
      'noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
    ]),
    row('sysfs', '/sys', [...safe, access]),
    // On v1 crun puts the hierarchies, read-only, on a tmpfs of 1 MiB that stays writable. To make
    // that a read-only path too would make crun mount the hierarchies anew, writable.
    row('cgroup', '/sys/fs/cgroup', [...safe, 'relatime', access]),
    row('mqueue', '/dev/mqueue', safe),
    ...planSharedMemory(options.sharedMemory, safe),
  ];
}

function planSharedMemory(memory: SharedMemory, safe: readonly string[]): readonly OciMount[] {
  switch (memory.kind) {
    case 'none':
      return [];
    case 'shared': {
      const options = ['rbind', 'rprivate', ...safe];
      return [{ destination: SHM_PATH, type: 'bind', source: memory.source, options }];
    }
    case 'own': {
      const size = memory.sizeBytes > 0 ? memory.sizeBytes : DEFAULT_SHM_BYTES;
      const options = [...safe, 'mode=1777', `size=${size}`];
      return [{ destination: SHM_PATH, type: 'tmpfs', source: 'shm', options }];
    }
  }
}

function depth(path: string): number {
  return path.split('/').length;
}
