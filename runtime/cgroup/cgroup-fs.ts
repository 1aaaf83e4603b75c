import { readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';
import { sleep, type Clock } from '../../common/clock.js';

/** How cgroups are mounted on this machine. */
export interface CgroupLayout {
  version: 1 | 2;
  /** Version 1 with a cgroup2 mount beside it, which crun refuses to see. */
  hybrid: boolean;
  /** Mount points in which a container's path appears; one under version 2. */
  roots: readonly string[];
  /** The one with memory accounting. */
  memoryRoot: string | undefined;
}

const REMOVE_ATTEMPTS = 50;
const REMOVE_RETRY_MS = 10;

/** @throws {HatobaError} failed-precondition when no cgroups are mounted */
export function detectCgroups(
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): CgroupLayout {
  const mounts = mountinfo
    .split('\n')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [type = '', , options = ''] = right.split(' ');
      return { path: left.split(' ')[4] ?? '', type, options: options.split(',') };
    })
    .filter((m) => m.path.startsWith('/sys/fs/cgroup'));
  const v1 = mounts.filter((m) => m.type === 'cgroup');
  const v2 = mounts.find((m) => m.type === 'cgroup2');
  if (v1.length > 0) {
    return {
      version: 1,
      hybrid: v2 !== undefined,
      roots: v1.map((m) => m.path),
      memoryRoot: v1.find((m) => m.options.includes('memory'))?.path,
    };
  }
  if (v2 === undefined) {
    throw new HatobaError(
      'failed-precondition',
      'no cgroups are mounted under /sys/fs/cgroup; mount cgroup2 there',
    );
  }
  return { version: 2, hybrid: false, roots: [v2.path], memoryRoot: v2.path };
}

/** The cgroups of containers, read and removed by their path below every root ("/hatoba/web/c1"). */
export class CgroupFs {
  readonly layout: CgroupLayout;
  readonly #clock: Clock;
  /** Where crun writes on a hybrid host in place of cgroup2: plain folders. */
  readonly #decoy: string;

  constructor(layout: CgroupLayout, decoy: string, clock: Clock) {
    this.layout = layout;
    this.#decoy = decoy;
    this.#clock = clock;
  }

  /** Processes killed in it for want of memory; 0 when it is gone. */
  oomKills(path: string): number {
    const root = this.layout.memoryRoot;
    if (root === undefined) return 0;
    const file = this.layout.version === 1 ? 'memory.oom_control' : 'memory.events';
    const text = readOrEmpty(`${root}${path}/${file}`);
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** Pids of all processes in it, as this process sees them. */
  processes(path: string): readonly number[] {
    const root = this.layout.memoryRoot ?? this.layout.roots[0] ?? '';
    return readOrEmpty(`${root}${path}/cgroup.procs`)
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  }

  /**
   * Removes it and what is below it in every hierarchy. Killed processes leave a cgroup a moment
   * after they are dead, so a busy one is tried again for half a second.
   * @throws {HatobaError} failed-precondition when processes stay in it
   */
  async remove(path: string): Promise<void> {
    rmSync(`${this.#decoy}${path}`, { recursive: true, force: true });
    for (const root of this.layout.roots) {
      for (let attempt = 1; !removeTree(`${root}${path}`); attempt++) {
        if (attempt === REMOVE_ATTEMPTS) {
          throw new HatobaError(
            'failed-precondition',
            `cgroup ${root}${path} cannot be removed: processes are still in it`,
          );
        }
        await sleep(this.#clock, REMOVE_RETRY_MS);
      }
    }
  }

  /** Removes a parent of containers when none is left in it. */
  removeIfEmpty(path: string): void {
    for (const root of [...this.layout.roots, this.#decoy]) removeFolder(`${root}${path}`);
  }
}

/** @returns false while something keeps it busy */
function removeTree(folder: string): boolean {
  if (removeFolder(folder)) return true;
  const children = readdirSync(folder, { withFileTypes: true }).filter((e) => e.isDirectory());
  const removed = children.map((child) => removeTree(`${folder}/${child.name}`));
  return removed.every(Boolean) && removeFolder(folder);
}

function removeFolder(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return true;
    if (['EBUSY', 'ENOTEMPTY'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) return '';
    throw error;
  }
}
