import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../common/errors.js';

/** Replaces a file in one step: a reader finds the old or the new content, never a part. */
export function writeJson(path: string, value: unknown): void {
  const draft = `${path}.new`;
  try {
    writeFileSync(draft, JSON.stringify(value), { mode: 0o600 });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(draft, JSON.stringify(value), { mode: 0o600 });
  }
  renameSync(draft, path);
}

/** What writeJson wrote; undefined when there is no file or it cannot be read as JSON. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as unknown;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
