import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import type { TerminalSize } from '../engine.js';

/** conmon looks away at more. */
const MAX_CELLS = 1000;
const RESIZE = 1;
const REOPEN_LOG = 2;

/**
 * Tells conmon to open its log file anew. Never while that file exists: conmon puts an empty one in
 * its place.
 */
export function tellReopenLog(control: string): void {
  tell(control, `${REOPEN_LOG} 0 0\n`);
}

/** Gives the container's terminal a size; at most 1000 rows and columns. */
export function tellSize(control: string, size: TerminalSize): void {
  const [rows, columns] = [size.rows, size.columns].map((n) => Math.min(n, MAX_CELLS));
  tell(control, `${RESIZE} ${rows} ${columns}\n`);
}

/** @param control conmon's fifo */
function tell(control: string, line: string): void {
  let fd: number;
  try {
    fd = openSync(control, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    // ENXIO: conmon has ended, nobody is there to be told.
    if (['ENXIO', 'ENOENT'].includes(errnoOf(error) ?? '')) return;
    throw error;
  }
  try {
    writeSync(fd, line);
  } finally {
    closeSync(fd);
  }
}
