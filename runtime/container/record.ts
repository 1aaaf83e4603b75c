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
import type { HealthCheck } from '../core/health-machine.js';
import type { ContainerConfig, ContainerState, HealthStatus } from '../engine.js';
import type { ContainerFiles } from './paths.js';
import type { ProcessIdentity } from './process-identity.js';

/** config.json: all that is needed to run a container on, or to take it away, after a restart. */
export interface ContainerRecord {
  config: ContainerConfig;
  imageId: string;
  cgroupPath: string;
  stopSignal: number;
  /** Empty path → name of each anonymous volume; removed with the container. */
  anonymousVolumes: Readonly<Record<string, string>>;
  health?: HealthCheck;
  createdAtMs: number;
}

/** state.json, padded with spaces; replaced as a whole at each change. */
export interface ContainerStatus {
  status: ContainerState['status'];
  process?: ProcessIdentity;
  conmon?: ProcessIdentity;
  health: HealthStatus;
  healthOutput: string;
  failingStreak: number;
  exitCode?: number;
  oomKilled: boolean;
  startedAtMs?: number;
  finishedAtMs?: number;
}

export interface ContainerEntry {
  readonly record: ContainerRecord;
  readonly status: ContainerStatus;
}

/**
 * Small files of one container are read and written at once, without the thread pool: 20–40 µs
 * each, where a trip through the pool costs several times that while eight creations wait for it.
 */
export function writeRecord(files: ContainerFiles, record: ContainerRecord): void {
  writeFileSync(files.record, JSON.stringify(record), { mode: 0o600 });
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
  const fresh = `${files.status}.new`;
  writeFileSync(fresh, text, { mode: 0o600 });
  renameSync(fresh, files.status);
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
    pid: status.status === 'exited' ? 0 : (status.process?.pid ?? 0),
    health: status.health,
    healthOutput: status.healthOutput,
    oomKilled: status.oomKilled,
    createdAtMs: record.createdAtMs,
    ...(status.exitCode !== undefined && { exitCode: status.exitCode }),
    ...(status.startedAtMs !== undefined && { startedAtMs: status.startedAtMs }),
    ...(status.finishedAtMs !== undefined && { finishedAtMs: status.finishedAtMs }),
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
