import { readFileSync, renameSync, writeFileSync } from 'node:fs';
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

/** state.json: replaced as a whole at each change. */
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

/** Atomic: a reader sees the old or the new state, never a part. */
export function writeStatus(files: ContainerFiles, status: ContainerStatus): void {
  const fresh = `${files.status}.new`;
  writeFileSync(fresh, JSON.stringify(status), { mode: 0o600 });
  renameSync(fresh, files.status);
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
