import * as fs from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { ContainerPaths } from '../container/paths.js';
import { isAlive } from '../container/process-identity.js';
import { hasProcess, volumesOf, type ContainerEntry } from '../container/record.js';
import { Limiter } from '../content/limiter.js';
import type { PathChange, PathStat } from '../engine.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import type { TreeView } from './copy-protocol.js';
import type { CopyThreads } from './copy-threads.js';
import { toByteString, type TreeMount } from './rooted-tree.js';

const { O_DIRECTORY } = fs.constants;
const O_PATH = 0o10000000;
/** What the engine lays over every container's root; see planMounts. */
const OWN_FILES = ['hosts', 'hostname', 'resolv.conf'];
const OWN_FOLDERS = ['/dev', '/proc', '/sys', '/dev/pts', '/dev/shm', '/dev/mqueue'];

/** Of all containers together: a listing asks for hundreds at once, and the disk is one. */
const PARALLEL_MEASURES = 4;

export interface ContainerTreesModules {
  paths: ContainerPaths;
  snapshotter: Pick<Snapshotter, 'mount'>;
  threads: Pick<CopyThreads, 'pack' | 'packRoot' | 'unpack' | 'diff' | 'measure'>;
  /** Makes those volumes show their content that do so only while they are used. */
  volumes: { hold(names: readonly string[]): Promise<() => Promise<void>> };
  bootId: string;
}

/**
 * Reads and writes the files of containers as they see them: of one that runs through its own root,
 * with all that is mounted there; of another through its layers, and its volumes and binds by their
 * sources. See RootedTree for why no path leads out of it.
 */
export class ContainerTrees {
  readonly #modules: ContainerTreesModules;
  readonly #measures = new Limiter(PARALLEL_MEASURES);

  constructor(modules: ContainerTreesModules) {
    this.#modules = modules;
  }

  /** See Containers.copyFrom. */
  async copyFrom(
    entry: ContainerEntry,
    path: string,
    options: { followLink: boolean; signal?: AbortSignal },
  ): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
    const opened = await this.#open(entry);
    const { followLink, signal } = options;
    try {
      const job = { type: 'pack', view: opened.view, path, followLink } as const;
      const { stat, tar } = await this.#modules.threads.pack(job, signal);
      return { stat, tar: withEnd(tar, opened.close) };
    } catch (error) {
      await opened.close();
      throw nameContainer(error, entry);
    }
  }

  /** See Containers.copyTo. */
  async copyTo(
    entry: ContainerEntry,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options: { copyOwners: boolean; signal?: AbortSignal },
  ): Promise<void> {
    const opened = await this.#open(entry);
    const { copyOwners, signal } = options;
    try {
      const job = { type: 'unpack', view: opened.view, path, copyOwners } as const;
      await this.#modules.threads.unpack(job, tar, signal);
    } catch (error) {
      throw nameContainer(error, entry);
    } finally {
      await opened.close();
    }
  }

  /** See Containers.export. */
  async *export(entry: ContainerEntry, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    const { rootDir } = await this.#modules.snapshotter.mount(entry.record.config.id);
    const { idMap } = entry.record;
    const view = { root: rootDir, mounts: [], readOnly: true, idMap };
    yield* this.#modules.threads.packRoot({ type: 'pack-root', view }, signal);
  }

  /** See Containers.diff. */
  async diff(entry: ContainerEntry): Promise<PathChange[]> {
    const { config, mounts, idMap } = entry.record;
    const snapshot = await this.#modules.snapshotter.mount(config.id);
    const ownPaths = [
      ...OWN_FOLDERS,
      ...OWN_FILES.map((name) => `/etc/${name}`),
      ...mounts.map((mount) => mount.destination),
    ];
    const { lowerDirs, upperDir, rootDir } = snapshot;
    return this.#modules.threads.diff(
      upperDir === undefined
        ? { type: 'diff-copy', root: rootDir, layers: lowerDirs, ownPaths, idMap }
        : { type: 'diff', layers: [upperDir, ...lowerDirs], ownPaths, idMap },
    );
  }

  /** See Containers.sizeRw. */
  async sizeRw(entry: ContainerEntry): Promise<number> {
    const { upperDir, rootDir } = await this.#modules.snapshotter.mount(entry.record.config.id);
    return this.#measures.run(() => this.#modules.threads.measure([upperDir ?? rootDir]));
  }

  async #open(entry: ContainerEntry): Promise<{ view: TreeView; close: () => Promise<void> }> {
    const { config, idMap } = entry.record;
    const rootFd = this.#openRunning(entry);
    if (rootFd !== undefined) {
      // Its mount namespace says itself what is mounted where, and what is read-only.
      return {
        view: { root: `/proc/self/fd/${rootFd}`, mounts: [], readOnly: false, idMap },
        close: () => Promise.resolve(fs.closeSync(rootFd)),
      };
    }
    const { rootDir } = await this.#modules.snapshotter.mount(config.id);
    const close = await this.#modules.volumes.hold(volumesOf(entry.record));
    return {
      view: {
        root: rootDir,
        mounts: this.#mountsOf(entry),
        readOnly: config.spec.readOnly,
        idMap,
      },
      close,
    };
  }

  /** The root of its first process; undefined when that has ended. */
  #openRunning(entry: ContainerEntry): number | undefined {
    const { process } = entry.status;
    if (process === undefined || !hasProcess(entry)) return undefined;
    let fd: number;
    try {
      fd = fs.openSync(`/proc/${process.pid}/root`, O_PATH | O_DIRECTORY);
    } catch (error) {
      if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
    // Only now it is certain whose root that is.
    if (isAlive(process, this.#modules.bootId)) return fd;
    fs.closeSync(fd);
    return undefined;
  }

  #mountsOf({ record }: ContainerEntry): readonly TreeMount[] {
    const { etc } = this.#modules.paths.of(record.config.id);
    const own = OWN_FILES.map((name) => ({ name, source: `${etc}/${name}` }))
      .filter(({ source }) => fs.existsSync(source))
      .map(({ name, source }) => ({ target: `/etc/${name}`, source, readOnly: false }));
    const asked = record.mounts.map(({ type, destination, source, readOnly }) => ({
      target: toByteString(destination),
      source: type === 'tmpfs' ? undefined : source,
      readOnly,
    }));
    return [...own, ...asked];
  }
}

/** Runs `close` once the stream is read, has failed or was given up, also before its first read. */
function withEnd(
  stream: AsyncIterable<Uint8Array>,
  close: () => Promise<void>,
): AsyncIterable<Uint8Array> {
  const source = stream[Symbol.asyncIterator]();
  let closing: Promise<void> | undefined;
  const end = (): Promise<void> => (closing ??= close());
  const iterator: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => iterator,
    async next() {
      try {
        const result = await source.next();
        if (result.done === true) await end();
        return result;
      } catch (error) {
        await end();
        throw error;
      }
    },
    async return() {
      await source.return?.();
      await end();
      return { done: true, value: undefined };
    },
  };
  return iterator;
}

function nameContainer(error: unknown, { record }: ContainerEntry): unknown {
  if (!(error instanceof HatobaError) || error.kind === 'cancelled') return error;
  const where = `container ${record.config.name}`;
  return new HatobaError(error.kind, `${where}: ${error.message}`, { detail: error.detail });
}
