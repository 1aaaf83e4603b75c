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
   * @throws {HatobaError} failed-precondition without a freezer, or when it is thawed or gone before
   *   that; deadline, and then all run on
   */
  async freeze(path: string): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + FREEZE_TIMEOUT_MS;
    this.#write(path, true);
    while (!this.#isFrozen(path)) {
      if (!this.isFreezing(path)) {
        throw new HatobaError(
          'failed-precondition',
          `the processes of cgroup ${path} were ended or thawed before they stood still`,
        );
      }
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
    if (this.#root === undefined) return;
    try {
      this.#write(path, false);
    } catch (error) {
      if (!['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) throw error;
    }
  }

  /** Whether its processes stand still or soon will; false for a cgroup that is gone. */
  isFreezing(path: string): boolean {
    return this.#version === 1
      ? /^(FREEZING|FROZEN)$/m.test(this.#read(path, 'freezer.state'))
      : this.#read(path, 'cgroup.freeze').trim() === '1';
  }

  #isFrozen(path: string): boolean {
    return this.#version === 1
      ? this.#read(path, 'freezer.state').trim() === 'FROZEN'
      : /^frozen 1$/m.test(this.#read(path, 'cgroup.events'));
  }

  #read(path: string, file: string): string {
    if (this.#root === undefined) return '';
    try {
      return readFileSync(`${this.#root}${path}/${file}`, 'utf8');
    } catch (error) {
      if (['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) return '';
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
