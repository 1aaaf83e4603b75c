import { readFile, rm } from 'node:fs/promises';
import { sleep, type Clock } from '../../common/clock.js';
import { errnoOf, HatobaError } from '../../common/errors.js';

const TERM_WAIT_MS = 5000;
const KILL_WAIT_MS = 5000;
const POLL_MS = 20;

/**
 * Ends the etcd that a manager killed with SIGKILL left behind: the process of the pid file, if it
 * is still the one that was started (its command line names the same data folder).
 * @returns the pid it ended, or undefined when there was none
 * @throws {HatobaError} failed-precondition when it does not go away
 */
export async function endOrphan(
  pidFile: string,
  dataDir: string,
  clock: Clock,
): Promise<number | undefined> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 1 || !(await isEtcdOf(pid, dataDir))) {
    await rm(pidFile, { force: true });
    return undefined;
  }
  const isGone = async (): Promise<boolean> => !(await isEtcdOf(pid, dataDir));
  signal(pid, 'SIGTERM');
  if (!(await poll(isGone, TERM_WAIT_MS, clock))) {
    signal(pid, 'SIGKILL');
    if (!(await poll(isGone, KILL_WAIT_MS, clock))) {
      throw new HatobaError(
        'failed-precondition',
        `an old etcd (process ${pid}) holds ${dataDir} and does not end; end it by hand`,
      );
    }
  }
  await rm(pidFile, { force: true });
  return pid;
}

async function isEtcdOf(pid: number, dataDir: string): Promise<boolean> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return commandLine.split('\0').includes(`--data-dir=${dataDir}`);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error; // gone meanwhile is what was wanted
  }
}

async function poll(
  isDone: () => Promise<boolean>,
  waitMs: number,
  clock: Clock,
): Promise<boolean> {
  const deadline = clock.nowMs() + waitMs;
  for (;;) {
    if (await isDone()) return true;
    if (clock.nowMs() >= deadline) return false;
    await sleep(clock, POLL_MS);
  }
}
