import { readFileSync } from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import { sendSignal } from '../oci/send-signal.js';

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
  if (isAlive(target, bootId)) sendSignal(target.pid, signal);
}

/**
 * What a process that has ended leaves for its parent to collect.
 * @returns 0–255, signals as 128 + number; undefined for one that lives, or is gone
 */
export function zombieExitCode(pid: number): number | undefined {
  const fields = readStat(pid);
  if (fields?.[0] !== 'Z') return undefined;
  const status = Number(fields[49]);
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}

function readStartTicks(pid: number): number | undefined {
  const fields = readStat(pid);
  return fields === undefined ? undefined : Number(fields[19]);
}

/** The fields of /proc/<pid>/stat from the third on; undefined when there is no such process. */
function readStat(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may itself hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
