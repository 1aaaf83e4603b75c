import { parseBytes } from '../../common/bytes.js';
import { HatobaError } from '../../common/errors.js';
import type { LogConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig } from '../../runtime/engine.js';

const DEFAULT_LOG = { maxSizeBytes: 10 * 1024 * 1024, maxFiles: 3 } as const;
const LOG_DRIVERS: ReadonlySet<string> = new Set(['', 'json-file', 'local']);

/**
 * How much of its output is kept of a container.
 * @throws {HatobaError} invalid-argument
 */
export function logOptions(config: LogConfig | undefined): ContainerConfig['log'] {
  if (config === undefined) return DEFAULT_LOG;
  if (!LOG_DRIVERS.has(config.name)) {
    throw new HatobaError(
      'invalid-argument',
      `log driver "${config.name}" is not known: use "local" or "json-file"`,
    );
  }
  const { 'max-size': maxSize, 'max-file': maxFile } = config.options;
  return {
    maxSizeBytes: maxSize === undefined ? DEFAULT_LOG.maxSizeBytes : logSize(maxSize),
    maxFiles: maxFile === undefined ? DEFAULT_LOG.maxFiles : logFiles(maxFile),
  };
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
