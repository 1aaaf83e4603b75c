import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { ContainerPaths } from '../container/paths.js';
import type { ContainerRegistry } from '../container/registry.js';
import { rotateLog } from './log-files.js';

/** A log may outgrow its limit by what is written in this time. */
const CHECK_MS = 1000;

/**
 * Keeps the logs of running containers within their limits. By looking at sizes, not by watching:
 * the kernel would tell of every single write.
 */
export class LogRotation implements Disposable {
  readonly #modules: {
    paths: ContainerPaths;
    registry: ContainerRegistry;
    clock: Clock;
    log: Logger;
  };
  #cancel: () => void = () => undefined;

  constructor(modules: {
    paths: ContainerPaths;
    registry: ContainerRegistry;
    clock: Clock;
    log: Logger;
  }) {
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
    const { paths, registry, log } = this.#modules;
    for (const { record, status } of registry.list()) {
      const { id, log: limits } = record.config;
      if (status.status !== 'running' || limits.maxSizeBytes <= 0) continue;
      const files = paths.of(id);
      try {
        rotateLog(files.log, { ...limits, control: files.control });
      } catch (error) {
        log.warn('Rotating container log failed', { containerId: id }, error);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }
}
