import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { sleep, type Clock } from '../../common/clock.js';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { CgroupLayout } from './cgroup-fs.js';

/** A process in an uninterruptible sleep freezes only when that is over. */
const FREEZE_TIMEOUT_MS = 10_000;
const LOOK_AGAIN_MS = 5;

/** Stops all processes of a cgroup at once, wherever they are, and lets them go on. */
export class Freezer {
  readonly #clock: Clock;
  /** Where the freezer's files are; undefined on a version 1 machine without one. */
  readonly #root: string | undefined;
  readonly #version: 1 | 2;

  constructor({ version, roots }: CgroupLayout, clock: Clock) {
    this.#clock = clock;
    this.#version = version;
    this.#root =
      version === 2 ? roots[0] : roots.find((r) => basename(r).split(',').includes('freezer'));
  }

  /**
   * Resolves once every process stands still.
   * @throws {HatobaError} failed-precondition without a freezer; deadline, and then all run on
   */
  async freeze(path: string): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + FREEZE_TIMEOUT_MS;
    this.#write(path, true);
    while (!this.isFrozen(path)) {
      if (this.#clock.nowMs() >= deadlineMs) {
        this.#write(path, false);
        throw new HatobaError(
          'deadline',
          `the processes of cgroup ${path} do not freeze within ${FREEZE_TIMEOUT_MS} ms`,
        );
      }
      await sleep(this.#clock, LOOK_AGAIN_MS);
    }
  }

  /** A cgroup that is gone has nothing to thaw. */
  thaw(path: string): void {
    try {
      this.#write(path, false);
    } catch (error) {
      if (!['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) throw error;
    }
  }

  /** Whether every process stands still; false for a cgroup that is gone. */
  isFrozen(path: string): boolean {
    if (this.#root === undefined) return false;
    try {
      return this.#version === 1
        ? readFileSync(`${this.#root}${path}/freezer.state`, 'utf8').trim() === 'FROZEN'
        : /^frozen 1$/m.test(readFileSync(`${this.#root}${path}/cgroup.events`, 'utf8'));
    } catch (error) {
      if (['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) return false;
      throw error;
    }
  }

  #write(path: string, isFrozen: boolean): void {
    if (this.#root === undefined) {
      throw new HatobaError(
        'failed-precondition',
        'containers cannot be paused: this machine has no freezer among its cgroups',
      );
    }
    if (this.#version === 1) {
      writeFileSync(`${this.#root}${path}/freezer.state`, isFrozen ? 'FROZEN' : 'THAWED');
    } else {
      writeFileSync(`${this.#root}${path}/cgroup.freeze`, isFrozen ? '1' : '0');
    }
  }
}
