import { rmSync } from 'node:fs';
import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { ContainerPaths } from '../container/paths.js';
import type { ContainerEntry } from '../container/record.js';
import type { ContainerRegistry } from '../container/registry.js';
import { tellReopenLog } from '../oci/conmon-control.js';
import { rotateLog } from './log-files.js';

/** A log may outgrow its limit by what is written in this time. */
const CHECK_MS = 1000;
/** Looks at which a log must be missing before an engine before us is thought to have caused it. */
const MISSING_LOOKS = 3;

export interface LogRotationModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  clock: Clock;
  log: Logger;
}

/**
 * Keeps the logs of running containers within their limits. By looking at sizes, not by watching:
 * the kernel would tell of every single write.
 *
 * conmon is told once for each rotation, however long it takes: a second message that comes after
 * it has begun the new file would throw that file away.
 */
export class LogRotation implements Disposable {
  readonly #modules: LogRotationModules;
  /** Containers whose log is missing: for how many looks, and whether conmon has been told. */
  readonly #missing = new Map<string, { looks: number; isTold: boolean }>();
  #cancel: () => void = () => undefined;

  constructor(modules: LogRotationModules) {
    this.#modules = modules;
  }

  start(): void {
    this.#cancel = this.#modules.clock.setTimer(CHECK_MS, () => {
      this.check();
      this.start();
    });
  }

  /** Rotates every log that has grown too large. */
  check(): void {
    const { registry, log } = this.#modules;
    const entries = registry.list().filter((e) => e.status.status === 'running');
    for (const entry of entries) {
      try {
        this.#checkOne(entry);
      } catch (error) {
        const containerId = entry.record.config.id;
        log.warn('Rotating container log failed', { containerId }, error);
      }
    }
    const running = new Set(entries.map((e) => e.record.config.id));
    for (const id of this.#missing.keys()) if (!running.has(id)) this.#missing.delete(id);
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #checkOne({ record }: ContainerEntry): void {
    const { id, log: limits } = record.config;
    if (limits.maxSizeBytes <= 0 || limits.driver === 'none') return;
    const { log, control } = this.#modules.paths.of(id);
    const result = rotateLog(log, { ...limits, control });
    if (result === 'kept' && this.#missing.delete(id) && limits.maxFiles === 1) {
      // Only now: until conmon had begun the new file, it wrote on into this one.
      rmSync(`${log}.1`, { force: true });
    }
    if (result === 'rotated') this.#missing.set(id, { looks: 0, isTold: true });
    if (result === 'missing') this.#noteMissing(id, control);
  }

  /** An engine before us was killed between its two steps, if nobody told conmon. */
  #noteMissing(id: string, control: string): void {
    const state = this.#missing.get(id) ?? { looks: 0, isTold: false };
    state.looks++;
    if (state.looks >= MISSING_LOOKS && !state.isTold) {
      tellReopenLog(control);
      state.isTold = true;
    }
    this.#missing.set(id, state);
  }
}
