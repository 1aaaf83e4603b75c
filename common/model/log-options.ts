import { parseBytes } from '../bytes.js';
import { HatobaError } from '../errors.js';
import type { LogConfig } from '../../proto/gen/hatoba/v1/types.js';

/** What is kept of a container's output; a size of 0 lets the log grow. */
export interface LogLimits {
  driver?: 'none';
  maxSizeBytes: number;
  maxFiles: number;
}

const DEFAULT_LOG = { maxSizeBytes: 10 * 1024 * 1024, maxFiles: 3 } as const;
/** Options of each driver; those without effect here are taken, since they harm nobody. */
const OPTIONS = ['max-size', 'max-file', 'compress', 'mode', 'max-buffer-size'] as const;
const DRIVERS: Readonly<Record<string, readonly string[]>> = {
  '': OPTIONS,
  local: OPTIONS,
  'json-file': [...OPTIONS, 'labels', 'labels-regex', 'env', 'env-regex', 'tag'],
  none: [],
};

/**
 * How much of its output is kept of a container.
 * @throws {HatobaError} invalid-argument
 */
export function logOptions(config: LogConfig | undefined): LogLimits {
  if (config === undefined) return DEFAULT_LOG;
  checkOptions(config);
  if (config.name === 'none') return { driver: 'none', maxSizeBytes: 0, maxFiles: 1 };
  const { 'max-size': maxSize, 'max-file': maxFile } = config.options;
  return {
    maxSizeBytes: maxSize === undefined ? DEFAULT_LOG.maxSizeBytes : logSize(maxSize),
    maxFiles: maxFile === undefined ? DEFAULT_LOG.maxFiles : logFiles(maxFile),
  };
}

function checkOptions({ name, options }: LogConfig): void {
  const known = Object.hasOwn(DRIVERS, name) ? DRIVERS[name] : undefined;
  if (known === undefined) {
    throw new HatobaError(
      'invalid-argument',
      `log driver "${name}" is not known: use "local", "json-file" or "none"`,
    );
  }
  const unknown = Object.keys(options).find((option) => !known.includes(option));
  if (unknown === undefined) return;
  throw new HatobaError(
    'invalid-argument',
    `log driver "${name === '' ? 'local' : name}" has no option "${unknown}"`,
  );
}

function logSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes > 0) return bytes;
  throw new HatobaError('invalid-argument', `log option max-size "${text}" must be above 0`);
}

function logFiles(text: string): number {
  const files = Number(text);
  if (Number.isInteger(files) && files >= 1 && files <= 1000) return files;
  throw new HatobaError('invalid-argument', `log option max-file "${text}" is not from 1 to 1000`);
}
