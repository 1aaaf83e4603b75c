import { readFileSync } from 'node:fs';
import { errnoOf } from '../../common/errors.js';

/** A process named so that no later one, not even after a reboot, can be taken for it. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/<pid>/stat: clock ticks since boot. */
  startTicks: number;
  bootId: string;
}

/** Read once: it changes only with the machine. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** @returns undefined when there is no such process */
export function identifyProcess(pid: number, bootId: string): ProcessIdentity | undefined {
  const startTicks = readStartTicks(pid);
  return startTicks === undefined ? undefined : { pid, startTicks, bootId };
}

/** Whether it is still there (a zombie counts: its exit is not yet told). */
export function isAlive(process: ProcessIdentity, bootId: string): boolean {
  return process.bootId === bootId && readStartTicks(process.pid) === process.startTicks;
}

/** Sends a signal to exactly this process; one that is gone is no error. */
export function signalProcess(target: ProcessIdentity, signal: number, bootId: string): void {
  if (!isAlive(target, bootId)) return;
  try {
    process.kill(target.pid, signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

function readStartTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fields[19]);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
