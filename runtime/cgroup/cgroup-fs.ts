import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { errnoOf, HatobaError } from '../../common/errors.js';
import { sleep, type Clock } from '../../common/clock.js';
import { followCpuset, formatCpuList, parseCpuList } from '../core/cpu-list.js';
import type { CgroupController, CgroupWrite } from '../core/cgroup-writes.js';

/** How cgroups are mounted on this machine. */
export interface CgroupLayout {
  version: 1 | 2;
  /** Version 1 with a cgroup2 mount beside it, which crun refuses to see. */
  hybrid: boolean;
  /** Mount points in which a container's path appears; one under version 2. */
  roots: readonly string[];
  /** The one with memory accounting. */
  memoryRoot: string | undefined;
  /** Mount point of each controller that is there. */
  controllers: Readonly<Partial<Record<CgroupController | 'cpuacct', string>>>;
}

const QUOTA_FILE = 'cpu.cfs_quota_us';
const CONTROLLERS = ['cpu', 'cpuacct', 'cpuset', 'memory', 'pids', 'blkio'] as const;

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
      controllers: pickRoots((name) => v1.find((m) => m.options.includes(name))?.path),
    };
  }
  if (v2 === undefined) {
    throw new HatobaError(
      'failed-precondition',
      'no cgroups are mounted under /sys/fs/cgroup; mount cgroup2 there',
    );
  }
  const { path } = v2;
  const controllers = pickRoots(() => path);
  return { version: 2, hybrid: false, roots: [path], memoryRoot: path, controllers };
}

function pickRoots(
  rootOf: (controller: string) => string | undefined,
): CgroupLayout['controllers'] {
  const found = CONTROLLERS.map((name) => [name, rootOf(name)] as const);
  return Object.fromEntries(found.filter(([, root]) => root !== undefined));
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

  /** Text of one of its files, empty when that or the cgroup is not there. */
  read(path: string, controller: CgroupController | 'cpuacct', file: string): string {
    const root = this.layout.controllers[controller];
    return root === undefined ? '' : readOrEmpty(`${root}${path}/${file}`);
  }

  /**
   * Sets limits of a cgroup that is there, in order.
   * @throws {HatobaError} failed-precondition, saying which one the kernel refuses
   */
  async write(path: string, writes: readonly CgroupWrite[]): Promise<void> {
    for (const write of writes) await this.#writeOne(path, write);
  }

  /** Makes a cgroup that limits its children, before it has any, in the hierarchies that need it. */
  make(path: string, controllers: readonly CgroupController[]): void {
    for (const controller of new Set(controllers)) {
      const root = this.layout.controllers[controller];
      if (root === undefined) continue;
      const parts = path.split('/').filter((part) => part !== '');
      parts.reduce((parent, part) => {
        if (this.layout.version === 2) delegate(parent, controller);
        const folder = `${parent}/${part}`;
        mkdirSync(folder, { recursive: true });
        if (this.layout.version === 1) inherit(folder, parent, controller);
        return folder;
      }, root);
    }
  }

  async #writeOne(path: string, write: CgroupWrite): Promise<void> {
    const root = this.layout.controllers[write.controller];
    for (const { name, value } of root === undefined ? [] : write.files) {
      try {
        if (this.layout.version === 1 && write.controller === 'cpuset') {
          spreadCpuset(`${root}${path}`, name, parseCpuList(value, name));
        } else if (name === QUOTA_FILE) {
          spreadQuota(`${root}${path}`, Number(value));
        } else {
          await writeFile(`${root}${path}/${name}`, value, { flag: 'r+' });
        }
        return;
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw this.#explain(path, write.limit, value, error);
      }
    }
    if (write.isDefault) return;
    if (root !== undefined && !existsSync(`${root}${path}`)) {
      throw new HatobaError(
        'failed-precondition',
        `cgroup ${path} is gone: its processes have ended`,
      );
    }
    throw new HatobaError(
      'failed-precondition',
      `${write.limit} cannot be set: this kernel has no ${write.files.map((f) => f.name).join(' and no ')}`,
    );
  }

  #explain(path: string, limit: string, value: string, cause: unknown): HatobaError {
    const errno = errnoOf(cause) ?? String(cause);
    const used = this.memoryBytes(path);
    const why =
      errno === 'EBUSY' && limit.includes('memory')
        ? `more than that is in use (${used} bytes); give it more, or end what uses it`
        : `the kernel refuses it (${errno})`;
    const text = `${limit} of cgroup ${path} cannot be set to ${value}: ${why}`;
    return new HatobaError('failed-precondition', text, { cause });
  }

  /** What its processes use now, the page cache included. */
  memoryBytes(path: string): number {
    const file = this.layout.version === 1 ? 'memory.usage_in_bytes' : 'memory.current';
    return Number(this.read(path, 'memory', file));
  }

  /** Pids of all processes in it, as this process sees them. */
  processes(path: string): readonly number[] {
    const root = this.layout.memoryRoot ?? this.layout.roots[0] ?? '';
    return readOrEmpty(`${root}${path}/cgroup.procs`)
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  }

  /** As processes, with those of the cgroups below it. */
  allProcesses(path: string): readonly number[] {
    const root = this.layout.memoryRoot ?? this.layout.roots[0] ?? '';
    const below = foldersIn(`${root}${path}`).flatMap((name) =>
      this.allProcesses(`${path}/${name}`),
    );
    return [...this.processes(path), ...below];
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

/** v2: lets the children of a cgroup have a controller. */
function delegate(parent: string, controller: CgroupController): void {
  const name = controller === 'blkio' ? 'io' : controller;
  const file = `${parent}/cgroup.subtree_control`;
  if (!readOrEmpty(file).split(/\s+/).includes(name)) writeFileSync(file, `+${name}`);
}

/** v1: a new cgroup has no cores to run on, and on old kernels does not bound its children. */
function inherit(folder: string, parent: string, controller: CgroupController): void {
  if (controller === 'memory' && readOrEmpty(`${folder}/memory.use_hierarchy`).trim() === '0') {
    writeFileSync(`${folder}/memory.use_hierarchy`, '1');
  }
  if (controller !== 'cpuset') return;
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (readOrEmpty(`${folder}/${file}`).trim() !== '') continue;
    writeFileSync(`${folder}/${file}`, readOrEmpty(`${parent}/${file}`));
  }
}

/** v1: a cgroup has no core or memory node that the one above it lacks, so all change together. */
function spreadCpuset(folder: string, file: string, after: ReadonlySet<number>): void {
  const read = (dir: string): ReadonlySet<number> =>
    parseCpuList(readFileSync(`${dir}/${file}`, 'utf8'), file);
  const write = (numbers: ReadonlySet<number>): void => {
    writeFileSync(`${folder}/${file}`, formatCpuList(numbers), { flag: 'r+' });
  };
  const before = read(folder);
  write(new Set([...before, ...after]));
  for (const name of foldersIn(folder)) {
    const own = read(`${folder}/${name}`);
    if (own.size > 0) spreadCpuset(`${folder}/${name}`, file, followCpuset(own, { before, after }));
  }
  write(after);
}

/**
 * v1: no cgroup may have more of the processor than the one above it, so those below that have more
 * get less first. They keep it when there is more again, until their own limits are set anew.
 */
function spreadQuota(folder: string, quotaUs: number): void {
  for (const name of quotaUs < 0 ? [] : foldersIn(folder)) {
    const own = Number(readOrEmpty(`${folder}/${name}/${QUOTA_FILE}`));
    if (own > quotaUs) spreadQuota(`${folder}/${name}`, quotaUs);
  }
  writeFileSync(`${folder}/${QUOTA_FILE}`, String(quotaUs), { flag: 'r+' });
}

/** @returns false while something keeps it busy */
function removeTree(folder: string): boolean {
  if (removeFolder(folder)) return true;
  const removed = foldersIn(folder).map((name) => removeTree(`${folder}/${name}`));
  return removed.every(Boolean) && removeFolder(folder);
}

function foldersIn(folder: string): readonly string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.flatMap((e) => (e.isDirectory() ? [e.name] : []));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
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
