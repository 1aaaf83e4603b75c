import { readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { HatobaError, describeError } from '../../common/errors.js';
import { workerEntry } from '../../common/worker-entry.js';
import { mountPointsBelow } from '../core/mount-points.js';
import type { DiskAnswer, DiskQuestion } from './disk-walk.js';

/** Never changed once they are there. */
const IMMUTABLE = 'layers';

/** Measures the engine's folder, in a thread: a million files take seconds. */
export class DiskMeter {
  readonly #root: string;
  readonly #groups: readonly string[];
  #known: ReadonlyMap<string, number> = new Map();
  #running: Promise<DiskAnswer> | undefined;

  constructor(root: string, groups: readonly string[]) {
    this.#root = root;
    this.#groups = groups;
  }

  /** Those who ask at once share one walk. */
  async measure(): Promise<DiskAnswer> {
    this.#running ??= this.#measure().finally(() => {
      this.#running = undefined;
    });
    return await this.#running;
  }

  async #measure(): Promise<DiskAnswer> {
    const mountPoints = mountPointsBelow(this.#root, await readFile('/proc/self/mountinfo'));
    const question = { root: this.#root, groups: this.#groups, mountPoints, known: this.#known };
    const answer = await walkInThread(question);
    const members = answer.groups.get(IMMUTABLE)?.members ?? [];
    this.#known = new Map([...members].map(([name, n]) => [`${IMMUTABLE}/${name}`, n]));
    return answer;
  }
}

function walkInThread(question: DiskQuestion): Promise<DiskAnswer> {
  const [entry, options] = workerEntry('./disk-walk-worker', import.meta.url);
  return new Promise((resolve, reject) => {
    const worker = new Worker(entry, { ...options, workerData: question });
    const fail = (why: string): void => {
      reject(new HatobaError('internal', `measuring ${question.root}: ${why}`));
    };
    worker.once('message', resolve);
    worker.once('error', (error) => {
      fail(describeError(error));
    });
    // after an answer this changes nothing
    worker.once('exit', (code) => {
      fail(`the thread ended with code ${code}`);
    });
  });
}
