import { T0 } from '../../support/builders.js';
import { describeError } from '../../../common/errors.js';
import type { Logger, LogFields } from '../../../common/logger.js';

/**
 * What happened, one line each, and a hash of it all: two runs with the same hash did the same. Lines
 * are kept only where somebody wants to read them.
 */
export class Trace {
  readonly lines: string[] | undefined;
  readonly #nowMs: () => number;
  #hash = 0x811c9dc5;

  constructor(options: { keep: boolean; nowMs: () => number }) {
    this.lines = options.keep ? [] : undefined;
    this.#nowMs = options.nowMs;
  }

  get isKept(): boolean {
    return this.lines !== undefined;
  }

  /** FNV-1a of all lines that count. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  /** Part of the hash. */
  add(line: string): void {
    const timed = `${(this.#nowMs() - T0).toFixed(3).padStart(10)} ${line}`;
    let hash = this.#hash;
    for (let i = 0; i < timed.length; i++) {
      hash = Math.imul(hash ^ timed.charCodeAt(i), 0x01000193);
    }
    this.#hash = hash;
    this.lines?.push(timed);
  }

  /** For readers only. */
  note(line: string): void {
    this.lines?.push(`${(this.#nowMs() - T0).toFixed(3).padStart(10)}   ${line}`);
  }

  /**
   * The log of one process.
   * @param onError a log line that should never be
   */
  logger(name: string, onError: (message: string) => void): Logger {
    const note = (
      level: string,
      message: string,
      fields: LogFields = {},
      error?: unknown,
    ): void => {
      if (!this.isKept) return;
      const reason = error === undefined ? '' : `: ${describeError(error)}`;
      this.note(`${name} ${level} ${message} ${JSON.stringify(fields)}${reason}`);
    };
    const logger: Logger = {
      debug: (message, fields, error) => note('debug', message, fields, error),
      info: (message, fields, error) => note('info', message, fields, error),
      warn: (message, fields, error) => note('warn', message, fields, error),
      error: (message, fields, error) => {
        note('error', message, fields, error);
        const stack = error instanceof Error ? (error.stack ?? '') : describeError(error);
        onError(`${name}: ${message} ${JSON.stringify(fields)}: ${stack}`);
      },
      child: () => logger,
    };
    return logger;
  }
}
