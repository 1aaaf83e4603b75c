import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.js';
import { HatobaError, errnoOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { isDigest, type Digest } from '../core/digest.js';
import { asCount, asObject, parseJson } from '../core/json-fields.js';

const FILE = 'last-use.json';
/** A crash forgets what was used within this time, which only lets an image seem older. */
const WRITE_AFTER_MS = 5000;

/**
 * When a container was last made from each image; on disk `images/last-use.json`:
 * `{"sha256:…": 1700000000000}`. Written some seconds late, so that no start of a container waits
 * for it.
 */
export class LastUse implements AsyncDisposable {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #times: Map<Digest, number>;
  #cancelWrite: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    path: string,
    times: Map<Digest, number>,
    modules: { clock: Clock; logger: Logger },
  ) {
    this.#path = path;
    this.#times = times;
    this.#clock = modules.clock;
    this.#logger = modules.logger;
  }

  /** @param dir the folder of the images' files */
  static async open(dir: string, modules: { clock: Clock; logger: Logger }): Promise<LastUse> {
    const path = join(dir, FILE);
    return new LastUse(path, await readTimes(path, modules.logger), modules);
  }

  /** @returns undefined for an image that was never used */
  of(id: Digest): number | undefined {
    return this.#times.get(id);
  }

  touch(id: Digest): void {
    this.#times.set(id, this.#clock.nowMs());
    this.#cancelWrite ??= this.#clock.setTimer(WRITE_AFTER_MS, () => {
      this.#write();
    });
  }

  forget(id: Digest): void {
    this.#times.delete(id); // written with the next change
  }

  /** Writes what is not written yet. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#cancelWrite !== undefined) {
      this.#cancelWrite();
      this.#write();
    }
    await this.#writing;
  }

  #write(): void {
    this.#cancelWrite = undefined;
    const text = JSON.stringify(Object.fromEntries(this.#times));
    this.#writing = this.#writing.then(async () => {
      try {
        await writeFile(`${this.#path}.draft`, text, { mode: 0o600 });
        await rename(`${this.#path}.draft`, this.#path);
      } catch (error) {
        // a full disk above all: to collect garbage matters more than its order
        this.#logger.warn('Writing when images were used failed', { file: this.#path }, error);
      }
    });
  }
}

async function readTimes(path: string, logger: Logger): Promise<Map<Digest, number>> {
  const times = new Map<Digest, number>();
  try {
    for (const [id, ms] of Object.entries(asObject(parseJson(await readFile(path), FILE), FILE))) {
      if (isDigest(id)) times.set(id, asCount(ms, `${FILE}: ${id}`));
    }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return times;
    if (!(error instanceof HatobaError)) throw error;
    logger.warn('Ignored a damaged note of when images were used', { file: path }, error);
  }
  return times;
}
