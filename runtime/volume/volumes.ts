import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import type { Clock } from '../../common/clock.js';
import { HatobaError, errnoOf } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import type { Mounts, Spawner } from '../../linux/ports.js';
import { KeyedMutex } from '../../common/keyed-mutex.js';
import { volumesOf } from '../container/record.js';
import type { ContainerRegistry } from '../container/registry.js';
import { removeTree } from '../content/remove-tree.js';
import { checkVolumeName, planVolumeMount } from '../core/volume-options.js';
import type { EventSink } from '../events/event-bus.js';
import { mustFd, RUNTIME_ENV } from '../oci/crun.js';
import { openReadPipe, readPipe } from '../oci/pipes.js';
import { VolumeMounter } from './volume-mounter.js';
import { readVolumeRecord, writeVolumeRecord, type VolumeRecord } from './volume-record.js';

const MAX_ERROR_BYTES = 4096;
/** Begin with a dot, which no volume's name may. */
const UNFINISHED = '.new-';
const GONE = '.gone-';

export interface VolumesModules {
  spawner: Spawner;
  mounts: Pick<Mounts, 'unmount' | 'list'>;
  random: Random;
  clock: Clock;
  events: EventSink;
  /** Knows which containers have which volumes. */
  registry: Pick<ContainerRegistry, 'list'>;
}

/** How a volume is to be made if it is not there. */
export type NewVolume = Partial<Omit<VolumeRecord, 'createdAtMs'>>;

/**
 * Volumes: folders that outlive containers, at <dir>/<name>/_data, each with a record beside it.
 * 1. A volume appears as a whole: it is filled under another name and then renamed; it goes by a
 *    rename, too.
 * 2. One that is mounted from elsewhere is so while it has users, and no longer.
 */
export class Volumes {
  readonly #dir: string;
  readonly #modules: VolumesModules;
  readonly #mounter: VolumeMounter;
  readonly #mutex = new KeyedMutex();
  /** Volume → who uses it now: containers that run, and copies. */
  readonly #users = new Map<string, Set<string>>();
  #goneCount = 0;
  #holdCount = 0;

  constructor(dir: string, modules: VolumesModules) {
    this.#dir = dir;
    this.#modules = modules;
    this.#mounter = new VolumeMounter(modules);
  }

  /** A name for an anonymous volume: 64 hexadecimal digits, as Docker's. */
  anonymousName(): string {
    return Buffer.from(this.#modules.random.bytes(32)).toString('hex');
  }

  /**
   * Makes a volume; one that is there with the same options and labels is left as it is.
   * @throws {HatobaError} invalid-argument; already-exists when it is there but different
   */
  create(name: string, wanted: NewVolume): Promise<VolumeRecord> {
    return this.#mutex.run(name, async () => {
      const there = this.#read(name);
      if (there === undefined) return this.#make(name, wanted, undefined);
      const isSame = sameWords(there.driverOpts, wanted.driverOpts ?? {});
      if (isSame && sameWords(there.labels, wanted.labels ?? {})) return there;
      throw new HatobaError(
        'already-exists',
        `volume ${name} is there with other ${isSame ? 'labels' : 'options'}; remove it first, or take another name`,
      );
    });
  }

  /**
   * The folder of a volume, made and filled on first use. An empty volume is filled too, as Docker
   * does.
   * @param source folder of the image to copy from, with owners and modes; undefined for nothing
   * @param use.by who uses it until `leave`: a container's id
   * @param use.wanted how it is made if it is not there
   * @returns the path to mount
   */
  open(
    name: string,
    source: string | undefined,
    use: { by?: string; wanted?: NewVolume } = {},
  ): Promise<string> {
    return this.#mutex.run(name, async () => {
      const template = source !== undefined && isFolder(source) ? source : undefined;
      const { wanted = {} } = use;
      const record = this.#read(name) ?? (await this.#make(name, wanted, template));
      const data = this.dataOf(name);
      const mount = planVolumeMount(name, record.driverOpts);
      if (mount !== undefined) await this.#mounter.mount(name, mount, data);
      if (use.by !== undefined) this.#enter(name, use.by);
      if (template !== undefined && readdirSync(data).length === 0) {
        await this.#copy(template, data);
      }
      return data;
    });
  }

  /** Notes that a container uses volumes since before this engine was opened. */
  takeUp(user: string, names: readonly string[]): void {
    for (const name of names) this.#enter(name, user);
  }

  /** A user needs its volumes no more; what was mounted for it alone is unmounted. */
  async leave(user: string): Promise<void> {
    const names = [...this.#users].filter(([, users]) => users.has(user)).map(([name]) => name);
    for (const name of names) {
      await this.#mutex.run(name, async () => {
        const users = this.#users.get(name);
        if (users?.delete(user) !== true) return;
        this.#tell('unmount', name, { container: user });
        if (users.size > 0) return;
        this.#users.delete(name);
        await this.#mounter.unmount(this.dataOf(name));
      });
    }
  }

  /** Lets volumes of a container that does not run be read and written, until it is let go. */
  async hold(names: readonly string[]): Promise<() => Promise<void>> {
    const user = `.copy-${++this.#holdCount}`;
    const release = (): Promise<void> => this.leave(user);
    try {
      for (const name of names) {
        if (this.#read(name) !== undefined) await this.open(name, undefined, { by: user });
      }
      return release;
    } catch (error) {
      await release();
      throw error;
    }
  }

  /** @returns whether it was there */
  remove(name: string): Promise<boolean> {
    return this.#mutex.run(name, async () => {
      const folder = `${this.#dir}/${name}`;
      if (!existsSync(folder)) return false;
      await this.#mounter.unmount(this.dataOf(name));
      this.#users.delete(name);
      const gone = `${this.#dir}/${GONE}${++this.#goneCount}`;
      await rename(folder, gone);
      await removeTree(gone);
      this.#tell('destroy', name);
      return true;
    });
  }

  /** @returns undefined where there is none */
  read(name: string): VolumeRecord | undefined {
    return this.#read(name);
  }

  names(): string[] {
    return readdirSync(this.#dir)
      .filter((name) => !name.startsWith('.') && existsSync(this.dataOf(name)))
      .sort();
  }

  usersOf(name: string): readonly string[] {
    return [...(this.#users.get(name) ?? [])];
  }

  /** Names of the containers that have it, running or not, sorted. */
  holdersOf(name: string): readonly string[] {
    return this.#modules.registry
      .list()
      .filter(({ record }) => volumesOf(record).includes(name))
      .map(({ record }) => record.config.name)
      .sort();
  }

  dataOf(name: string): string {
    return `${this.#dir}/${name}/_data`;
  }

  /** Removes what a crash left half filled or half removed. */
  async clean(): Promise<void> {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#dir)) {
      if (name.startsWith(UNFINISHED) || name.startsWith(GONE)) {
        await removeTree(`${this.#dir}/${name}`);
      }
    }
  }

  /** Unmounts what is mounted for nobody: its users ended while no engine was there. */
  async unmountUnused(): Promise<void> {
    for (const name of this.names()) {
      if (!this.#users.has(name)) await this.#mounter.unmount(this.dataOf(name));
    }
  }

  async #make(
    name: string,
    wanted: NewVolume,
    template: string | undefined,
  ): Promise<VolumeRecord> {
    checkVolumeName(name);
    const { labels = {}, driverOpts = {}, anonymous = false } = wanted;
    const isMounted = planVolumeMount(name, driverOpts) !== undefined;
    const createdAtMs = this.#modules.clock.nowMs();
    const record = { labels, driverOpts, anonymous, createdAtMs };
    const fresh = `${this.#dir}/${UNFINISHED}${name}`;
    await removeTree(fresh);
    mkdirSync(`${fresh}/_data`, { recursive: true, mode: 0o755 });
    await writeVolumeRecord(fresh, record);
    if (template !== undefined && !isMounted) await this.#copy(template, `${fresh}/_data`);
    await rename(fresh, `${this.#dir}/${name}`);
    this.#tell('create', name);
    return record;
  }

  #read(name: string): VolumeRecord | undefined {
    return readVolumeRecord(`${this.#dir}/${name}`, name);
  }

  #enter(name: string, user: string): void {
    const users = this.#users.get(name) ?? new Set();
    if (!users.has(user)) this.#tell('mount', name, { container: user });
    this.#users.set(name, users.add(user));
  }

  #tell(action: string, name: string, attributes: Readonly<Record<string, string>> = {}): void {
    if (attributes['container']?.startsWith('.') === true) return; // our own copying
    this.#modules.events.emit({
      type: 'volume',
      action,
      id: name,
      attributes: { driver: 'local', ...attributes },
    });
  }

  async #copy(source: string, target: string): Promise<void> {
    const child = await this.#modules.spawner.spawn({
      file: '/usr/bin/cp',
      args: ['-a', '--reflink=auto', '--', `${source}/.`, target],
      env: RUNTIME_ENV,
      fds: [{ fd: 2, pipe: 'write' }],
    });
    const said = await readPipe(openReadPipe(mustFd(child, 2)), MAX_ERROR_BYTES);
    if ((await child.exited) === 0) return;
    throw new HatobaError('internal', `filling the volume ${target}: ${said.trim()}`);
  }
}

function isFolder(path: string): boolean {
  try {
    return readdirSync(path).length >= 0;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

function sameWords(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
): boolean {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => a[key] === b[key]);
}
