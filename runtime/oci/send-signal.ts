import { errnoOf } from '../../common/errors.js';

/** Sends a signal to a process by its number; one that is gone is no error. */
export function sendSignal(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}
