import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { CgroupLayout } from '../cgroup/cgroup-fs.js';
import type { HostFacts } from '../core/bundle.js';
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
    cgroupVersion: cgroups.version,
    cpus: readOnline('/sys/devices/system/cpu/online'),
    mems: readOnline('/sys/devices/system/node/online'),
    hostname: hostname(),
  };
}

/** "0-3"; kernels without NUMA have one memory node and no file that says so. */
function readOnline(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '0';
    throw error;
  }
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

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
