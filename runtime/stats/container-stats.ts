import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.js';
import { errnoOf } from '../../common/errors.js';
import type { CgroupFs } from '../cgroup/cgroup-fs.js';
import type { ContainerEntry } from '../container/record.js';
import { toSample, type StatsTexts } from '../core/cgroup-stats.js';
import { parseBootTimeMs, parseProcess } from '../core/process-files.js';
import { parseUserNames } from '../core/user.js';
import type { ContainerProcess, ContainerStats } from '../engine.js';

/**
 * What running containers use. A dozen files of the kernel's are read at once for each, 10 µs a
 * file, which is less than a trip through the thread pool costs.
 */
export class StatsReader {
  readonly #cgroups: CgroupFs;
  readonly #clock: Clock;

  constructor(modules: { cgroups: CgroupFs; clock: Clock }) {
    this.#cgroups = modules.cgroups;
    this.#clock = modules.clock;
  }

  /** One sample, without rates; undefined for a container that does not run. */
  read(entry: ContainerEntry): ContainerStats | undefined {
    const { record, status } = entry;
    if (status.status !== 'running' && status.status !== 'paused') return undefined;
    return {
      containerId: record.config.id,
      name: record.config.name,
      readAtMs: this.#clock.nowMs(),
      cpuCores: undefined,
      ...toSample(this.#readTexts(entry), totalmem()),
      oomKills: this.#cgroups.oomKills(record.cgroupPath),
    };
  }

  /** Its processes, oldest first; none when it does not run. */
  processes({ record, status }: ContainerEntry): ContainerProcess[] {
    if (status.status !== 'running' && status.status !== 'paused') return [];
    const users = parseUserNames(readOrEmpty('/etc/passwd'));
    const bootMs = parseBootTimeMs(readOrEmpty('/proc/stat'));
    return this.#cgroups
      .allProcesses(record.cgroupPath)
      .flatMap((pid) => parseProcess(readProcess(pid)) ?? [])
      .map(({ uid, startedAfterBootMs, ...rest }) => ({
        ...rest,
        user: users.get(uid) ?? String(uid),
        startedAtMs: bootMs + startedAfterBootMs,
      }))
      .toSorted((a, b) => a.startedAtMs - b.startedAtMs || a.pid - b.pid);
  }

  #readTexts({ record, status }: ContainerEntry): StatsTexts {
    const { config, cgroupPath: path } = record;
    const cgroups = this.#cgroups;
    const { version } = cgroups.layout;
    const v1 = version === 1;
    const group = dirname(path);
    return {
      version,
      cpuUsage: v1 ? cgroups.read(path, 'cpuacct', 'cpuacct.usage') : '',
      cpuStat: cgroups.read(path, 'cpu', 'cpu.stat'),
      memoryUsage: cgroups.read(path, 'memory', v1 ? 'memory.usage_in_bytes' : 'memory.current'),
      memoryStat: cgroups.read(path, 'memory', 'memory.stat'),
      memoryLimits: v1
        ? []
        : [path, group, dirname(group)].map((p) => cgroups.read(p, 'memory', 'memory.max')),
      pidsCurrent: cgroups.read(path, 'pids', 'pids.current'),
      pidsMax: cgroups.read(path, 'pids', 'pids.max'),
      io: cgroups.read(path, 'blkio', v1 ? 'blkio.throttle.io_service_bytes' : 'io.stat'),
      // On the host's network it has no traffic of its own.
      netDev:
        config.netns === 'host' ? '' : readOrEmpty(`/proc/${status.process?.pid ?? 0}/net/dev`),
    };
  }
}

function readProcess(pid: number): { stat: string; status: string; cmdline: string } {
  const [stat = '', status = '', cmdline = ''] = ['stat', 'status', 'cmdline'].map((file) =>
    readOrEmpty(`/proc/${pid}/${file}`),
  );
  return { stat, status, cmdline };
}

/** A process may end at any time. */
function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EINVAL'].includes(errnoOf(error) ?? '')) return '';
    throw error;
  }
}
