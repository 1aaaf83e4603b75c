import { accessSync, constants, existsSync, readFileSync, statSync, type Stats } from 'node:fs';
import { release } from 'node:os';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { Device } from '../../proto/gen/hatoba/v1/types.js';
import type { CgroupLayout } from '../cgroup/cgroup-fs.js';
import type { GrantedDevice, HostFacts } from '../core/bundle.js';
import { parseCapabilityMask } from '../core/capabilities.js';
import { parseHardLimits } from '../core/rlimits.js';

/** Programs that can be PID 1 in an image without any library, best first: statically linked ones. */
const INIT_PROGRAMS = [
  '/usr/bin/tini-static',
  '/usr/bin/catatonit',
  '/usr/libexec/podman/catatonit',
];

/** What this process may give to a container; read once. */
export function readHostFacts(cgroups: CgroupLayout): HostFacts {
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    capabilities: parseCapabilityMask(/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'),
    hardLimits: parseHardLimits(readFileSync('/proc/self/limits', 'utf8')),
    swapLimit:
      cgroups.memoryRoot !== undefined &&
      (cgroups.version === 2 || existsSync(`${cgroups.memoryRoot}/memory.memsw.limit_in_bytes`)),
  };
}

/** "6.18.44-fc" → 6, 18 */
export function readKernelVersion(text = release()): { major: number; minor: number } {
  const [major = 0, minor = 0] = text.split(/[.-]/).map(Number);
  return { major, minor };
}

/** @throws {HatobaError} failed-precondition when the machine has none */
export function findInitProgram(programs: readonly string[] = INIT_PROGRAMS): string {
  const found = programs.find(isExecutable);
  if (found !== undefined) return found;
  throw new HatobaError(
    'failed-precondition',
    '"init: true" needs an init program on this node; install the package tini (or catatonit)',
  );
}

/**
 * The devices of the host that a container asks for.
 * @throws {HatobaError} invalid-argument for a path that is no device
 */
export function readDevices(devices: readonly Device[]): readonly GrantedDevice[] {
  return devices.map((wish) => {
    const path = wish.pathOnHost;
    const stat = statDevice(path);
    const isBlock = stat.isBlockDevice();
    if (!isBlock && !stat.isCharacterDevice()) {
      throw new HatobaError('invalid-argument', `device ${path} is not a device file`);
    }
    const access = wish.cgroupPermissions === '' ? 'rwm' : wish.cgroupPermissions;
    if (!/^[rwm]+$/.test(access)) {
      throw new HatobaError(
        'invalid-argument',
        `device ${path}: permissions "${access}" must be made of r, w and m`,
      );
    }
    return {
      access,
      device: {
        path: wish.pathInContainer === '' ? path : wish.pathInContainer,
        type: isBlock ? 'b' : 'c',
        ...splitDeviceNumber(stat.rdev),
        fileMode: stat.mode & 0o777,
        uid: stat.uid,
        gid: stat.gid,
      },
    };
  });
}

/** makedev(3), glibc. */
function splitDeviceNumber(rdev: number): { major: number; minor: number } {
  const n = BigInt(rdev);
  const major = ((n >> 8n) & 0xfffn) | ((n >> 32n) & 0xfffff000n);
  const minor = (n & 0xffn) | ((n >> 12n) & 0xffffff00n);
  return { major: Number(major), minor: Number(minor) };
}

function statDevice(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new HatobaError('invalid-argument', `device ${path} is not on this node`, {
      cause: error,
    });
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
