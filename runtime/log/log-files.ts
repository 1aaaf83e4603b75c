import { readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { errnoOf } from '../../common/errors.js';
import { tellReopenLog } from '../oci/conmon-control.js';

/** One file of a container's log; 0 is the one being written, higher numbers are older. */
export interface LogFile {
  path: string;
  age: number;
  inode: number;
  sizeBytes: number;
}

/**
 * The files of a log, oldest first. All looked at at once, so that no rotation comes in between: it
 * would move a file from a name that is not yet looked at to one that is.
 */
export function listLogFiles(log: string): readonly LogFile[] {
  const found: LogFile[] = [];
  for (const name of namesIn(dirname(log))) {
    const age = ageOf(name, basename(log));
    if (age === undefined) continue;
    const path = `${dirname(log)}/${name}`;
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat !== undefined) found.push({ path, age, inode: stat.ino, sizeBytes: stat.size });
  }
  return found.toSorted((a, b) => b.age - a.age);
}

/**
 * Starts a new log file if the present one has grown too large. The old file is renamed first and
 * conmon told to reopen afterwards; until it does, it writes on into the renamed file. So nothing is
 * lost, and a reader that holds the old file misses nothing.
 * @param options.control conmon's fifo
 * @returns "missing" while conmon has not yet opened a new one
 */
export function rotateLog(
  log: string,
  options: { maxSizeBytes: number; maxFiles: number; control: string },
): 'kept' | 'rotated' | 'missing' {
  let size: number;
  try {
    size = statSync(log).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'missing';
    throw error;
  }
  if (size < options.maxSizeBytes) return 'kept';
  const oldest = Math.max(1, options.maxFiles - 1);
  rmSync(`${log}.${oldest}`, { force: true });
  for (let age = oldest - 1; age >= 1; age--) renameIfThere(`${log}.${age}`, `${log}.${age + 1}`);
  renameSync(log, `${log}.1`);
  tellReopenLog(options.control);
  return 'rotated';
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

function ageOf(name: string, log: string): number | undefined {
  if (name === log) return 0;
  if (!name.startsWith(`${log}.`)) return undefined;
  const age = name.slice(log.length + 1);
  return /^\d+$/.test(age) ? Number(age) : undefined;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
