import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import type { IdMap } from '../../linux/ports.js';
import type { HealthCheck } from '../core/health-machine.js';
import type { ImageConfig } from '../core/image-config.js';
import type { ContainerConfig, ContainerMount, ContainerState, HealthStatus } from '../engine.js';
import type { ContainerFiles } from './paths.js';
import type { ProcessIdentity } from './process-identity.js';

/** config.json: all that is needed to run a container, once more too, and to take it away. */
export interface ContainerRecord {
  config: ContainerConfig;
  imageId: string;
  /** Kept here, so that a later run needs neither the tag nor the store. */
  image: ImageConfig;
  /** What it runs: the image's and its own words joined. */
  command: readonly string[];
  mounts: readonly ContainerMount[];
  cgroupPath: string;
  logPath: string;
  stopSignal: number;
  /** Empty path → name of each anonymous volume; removed with the container. */
  anonymousVolumes: Readonly<Record<string, string>>;
  health?: HealthCheck;
  /** Users of its own, as they were when it was made: its files belong to them. */
  idMap?: IdMap;
  createdAtMs: number;
}

/** state.json, padded with spaces; replaced as a whole at each change. */
export interface ContainerStatus {
  status: ContainerState['status'];
  /** Undefined for a created one whose waiting process a reboot took. */
  process?: ProcessIdentity | undefined;
  conmon?: ProcessIdentity | undefined;
  health: HealthStatus;
  healthOutput: string;
  failingStreak: number;
  exitCode?: number | undefined;
  oomKilled: boolean;
  startedAtMs?: number;
  finishedAtMs?: number;
  /** Why the last start failed; empty when it did not. */
  error: string;
  /** Starts by the restart rule since the last start by hand. */
  restartCount: number;
  /** What the restart rule waited last, or waits now; 0 before the first time. */
  backoffMs: number;
  /** Somebody wanted it to end: the restart rule leaves it alone. */
  isStoppedByHand: boolean;
}

/** Of a container that has not run yet. */
export const NEW_STATUS: ContainerStatus = {
  status: 'created',
  health: 'none',
  healthOutput: '',
  failingStreak: 0,
  oomKilled: false,
  error: '',
  restartCount: 0,
  backoffMs: 0,
  isStoppedByHand: false,
};

export interface ContainerEntry {
  readonly record: ContainerRecord;
  readonly status: ContainerStatus;
}

export function isEnded({ status }: Pick<ContainerEntry, 'status'>): boolean {
  return status.status === 'exited' || status.status === 'restarting';
}

/** Whether a process of it is there, or was when somebody last looked. */
export function hasProcess({ status }: Pick<ContainerEntry, 'status'>): boolean {
  if (isEnded({ status })) return false;
  return status.status !== 'created' || status.process !== undefined;
}

/** Names of the volumes it has. */
export function volumesOf({ mounts }: Pick<ContainerRecord, 'mounts'>): readonly string[] {
  return mounts.flatMap((mount) => (mount.type === 'volume' ? [mount.name] : []));
}

/**
 * Small files of one container are read and written at once, without the thread pool: 20–40 µs
 * each, where a trip through the pool costs several times that while eight creations wait for it.
 */
export function writeRecord(files: ContainerFiles, record: ContainerRecord): void {
  writeFileSync(files.record, JSON.stringify(record), { mode: 0o600 });
}

/** Atomic: a later engine sees the old or the new record. */
export function replaceRecord(files: ContainerFiles, record: ContainerRecord): void {
  replaceFile(files.record, JSON.stringify(record), { flush: true });
}

/** Every state but one with a long health check output has room in it. */
const STATUS_BYTES = 1024;

/**
 * Atomic: a later engine sees the old or the new state, never a part. A short state is written over
 * the old one by one call within one page of memory, which nothing interrupts; that spares the
 * making and deleting of a file at each change.
 */
export function writeStatus(files: ContainerFiles, status: ContainerStatus): void {
  const text = JSON.stringify(status).padEnd(STATUS_BYTES);
  const fits = Buffer.byteLength(text) === STATUS_BYTES;
  if (fits && writeOver(files.status, text)) return;
  replaceFile(files.status, text, { flush: true });
}

export interface Removal {
  keepVolumes?: boolean;
}

/** The first step of a removal: a new engine goes on with one that was cut off. */
export function writeRemoval(files: ContainerFiles, removal: Removal): void {
  // Lost in a power cut, the removal was never begun.
  replaceFile(files.removal, JSON.stringify(removal), { flush: false });
}

/** @returns undefined for a container that is not to go */
export function readRemoval(files: ContainerFiles): Removal | undefined {
  const value = readJson(files.removal);
  return isObject(value) ? { keepVolumes: value['keepVolumes'] === true } : undefined;
}

/** @param flush before it takes the old one's place: not every file system keeps that order */
function replaceFile(file: string, text: string, { flush }: { flush: boolean }): void {
  const fresh = `${file}.new`;
  writeFileSync(fresh, text, { mode: 0o600, flush });
  renameSync(fresh, file);
}

/** @returns false when the file is longer than that */
function writeOver(file: string, text: string): boolean {
  const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT, 0o600);
  try {
    if (fstatSync(fd).size > STATUS_BYTES) return false;
    writeSync(fd, text, 0);
    return true;
  } finally {
    closeSync(fd);
  }
}

/** @returns undefined where there is none, or one torn by a power loss */
export function readRecord(files: ContainerFiles): ContainerRecord | undefined {
  const value = readJson(files.record);
  return isObject(value) && isObject(value['config']) && typeof value['cgroupPath'] === 'string'
    ? (value as unknown as ContainerRecord)
    : undefined;
}

/** @returns undefined while the container is half made */
export function readStatus(files: ContainerFiles): ContainerStatus | undefined {
  const value = readJson(files.status);
  return isObject(value) && typeof value['status'] === 'string'
    ? (value as unknown as ContainerStatus)
    : undefined;
}

/** What callers of the engine see. */
export function toContainerState({ record, status }: ContainerEntry): ContainerState {
  return {
    config: record.config,
    status: status.status,
    pid: isEnded({ status }) ? 0 : (status.process?.pid ?? 0),
    health: status.health,
    healthOutput: status.healthOutput,
    oomKilled: status.oomKilled,
    createdAtMs: record.createdAtMs,
    ...(status.exitCode !== undefined && { exitCode: status.exitCode }),
    ...(status.startedAtMs !== undefined && { startedAtMs: status.startedAtMs }),
    ...(status.finishedAtMs !== undefined && { finishedAtMs: status.finishedAtMs }),
    error: status.error,
    restartCount: status.restartCount,
    imageId: record.imageId,
    cgroupPath: record.cgroupPath,
    logPath: record.logPath,
    command: record.command,
    mounts: record.mounts,
  };
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
