import { readdirSync, readFileSync } from 'node:fs';
import { sleep, type Clock } from '../../common/clock.js';
import { errnoOf, HatobaError } from '../../common/errors.js';
import { sendSignal } from './send-signal.js';

const LOOKS = 100;
const LOOK_AGAIN_MS = 10;

/**
 * Ends the conmon and crun that are still making a container for an engine that is gone, or that
 * waits no longer: otherwise they would go on after all has been taken away, and leave a container
 * nobody knows. Costs a look at every process, so it is for creations that were cut off.
 * @param bundle of the container; both have it among their arguments
 * @throws {HatobaError} failed-precondition when one of them does not end within a second
 */
export async function endMakers(bundle: string, clock: Clock): Promise<void> {
  for (let look = 1; ; look++) {
    const makers = findMakers(bundle);
    if (makers.length === 0) return;
    if (look > LOOKS) {
      throw new HatobaError(
        'failed-precondition',
        `processes ${makers.join(', ')}, which make the container of ${bundle}, do not end`,
      );
    }
    for (const pid of makers) sendSignal(pid, 'SIGKILL');
    await sleep(clock, LOOK_AGAIN_MS);
  }
}

/** Processes by their arguments; one that has ended has none. */
function findMakers(bundle: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const args = argumentsOf(pid);
      const at = args.indexOf('--bundle');
      return args.includes(`--bundle=${bundle}`) || (at >= 0 && args[at + 1] === bundle);
    });
}

function argumentsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}
