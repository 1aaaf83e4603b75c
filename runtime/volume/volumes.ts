import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { HatobaError, errnoOf } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import type { Spawner } from '../../linux/ports.js';
import { KeyedMutex } from '../container/keyed-mutex.js';
import { removeTree } from '../content/remove-tree.js';
import { mustFd, RUNTIME_ENV } from '../oci/crun.js';
import { openReadPipe, readPipe } from '../oci/pipes.js';

const MAX_ERROR_BYTES = 4096;
/** Begins with a dot, which no volume's name may. */
const UNFINISHED = '.new-';

/**
 * Volumes: folders that outlive containers, at <dir>/<name>/_data.
 * A volume appears as a whole: it is filled under another name and then renamed.
 */
export class Volumes {
  readonly #dir: string;
  readonly #spawner: Spawner;
  readonly #random: Random;
  readonly #mutex = new KeyedMutex();

  constructor(dir: string, modules: { spawner: Spawner; random: Random }) {
    this.#dir = dir;
    this.#spawner = modules.spawner;
    this.#random = modules.random;
  }

  /** A name for an anonymous volume: 64 hexadecimal digits, as Docker's. */
  anonymousName(): string {
    return Buffer.from(this.#random.bytes(32)).toString('hex');
  }

  /**
   * The folder of a volume, made and filled on first use. An empty volume is filled too, as Docker
   * does.
   * @param source folder of the image to copy from, with owners and modes; undefined for nothing
   * @returns the path to mount
   */
  open(name: string, source: string | undefined): Promise<string> {
    return this.#mutex.run(name, async () => {
      const folder = `${this.#dir}/${name}`;
      const data = `${folder}/_data`;
      const template = source !== undefined && isFolder(source) ? source : undefined;
      if (existsSync(data)) {
        if (template !== undefined && readdirSync(data).length === 0) {
          await this.#copy(template, data);
        }
        return data;
      }
      const fresh = `${this.#dir}/${UNFINISHED}${name}`;
      await removeTree(fresh);
      mkdirSync(`${fresh}/_data`, { recursive: true, mode: 0o755 });
      if (template !== undefined) await this.#copy(template, `${fresh}/_data`);
      await rename(fresh, folder);
      return data;
    });
  }

  /** Unknown: success. */
  remove(name: string): Promise<void> {
    return this.#mutex.run(name, () => removeTree(`${this.#dir}/${name}`));
  }

  /** Removes what a crash left half filled. */
  async clean(): Promise<void> {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#dir)) {
      if (name.startsWith(UNFINISHED)) await removeTree(`${this.#dir}/${name}`);
    }
  }

  async #copy(source: string, target: string): Promise<void> {
    const child = await this.#spawner.spawn({
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
