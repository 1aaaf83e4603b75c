import { writeSync } from 'node:fs';
import { libc } from './libc.js';

/**
 * Ends the process at once: this thread is in a namespace it cannot leave, and every later call
 * would change the wrong one. The message goes straight to stderr, as a worker's own stream is
 * written by the main thread, which would not get to it.
 */
export function abortLostThread(what: string): never {
  writeSync(2, `hatoba: ${what}; aborting, so that nothing wrong is changed\n`);
  libc.abort();
  // Never reached: abort(3) does not return.
  throw new Error(what);
}
