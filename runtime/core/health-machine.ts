import type { HealthConfig } from '../../proto/gen/hatoba/v1/types.js';

/** Settled health check of a container. */
export interface HealthCheck {
  /** Arguments of the probe; a shell is already part of them. */
  command: readonly string[];
  intervalMs: number;
  timeoutMs: number;
  startPeriodMs: number;
  startIntervalMs: number;
  retries: number;
}

export interface HealthState {
  status: 'starting' | 'healthy' | 'unhealthy';
  failingStreak: number;
}

export const INITIAL_HEALTH: HealthState = { status: 'starting', failingStreak: 0 };

const DEFAULT_INTERVAL_MS = 30_000;
const DEFAULT_START_INTERVAL_MS = 5_000;
const DEFAULT_RETRIES = 3;

/**
 * The check a container runs: its own, each part it leaves open taken from the image's.
 * @returns undefined without a check, or with ["NONE"]
 */
export function planHealthCheck(
  own: HealthConfig | undefined,
  image: HealthConfig | undefined,
): HealthCheck | undefined {
  const [kind, ...rest] = own !== undefined && own.test.length > 0 ? own.test : (image?.test ?? []);
  if (kind === undefined || kind === 'NONE') return undefined;
  const command = toCommand(kind, rest);
  if (command.length === 0) return undefined;
  const pick = (
    key: 'intervalMs' | 'timeoutMs' | 'startPeriodMs' | 'startIntervalMs' | 'retries',
    otherwise: number,
  ): number => [own?.[key], image?.[key]].find((v) => v !== undefined && v > 0) ?? otherwise;
  return {
    command,
    intervalMs: pick('intervalMs', DEFAULT_INTERVAL_MS),
    timeoutMs: pick('timeoutMs', DEFAULT_INTERVAL_MS),
    startPeriodMs: pick('startPeriodMs', 0),
    startIntervalMs: pick('startIntervalMs', DEFAULT_START_INTERVAL_MS),
    retries: pick('retries', DEFAULT_RETRIES),
  };
}

/**
 * How long to wait for the next probe, from the end of the last one (or from the start). Until the
 * container is healthy for the first time and within the start period, the start interval applies.
 */
export function nextProbeDelayMs(
  check: HealthCheck,
  state: HealthState,
  sinceStartMs: number,
): number {
  return isStarting(check, state, sinceStartMs) ? check.startIntervalMs : check.intervalMs;
}

/**
 * The state after a probe.
 * @param sinceStartMs age of the container when the probe began
 */
export function afterProbe(
  check: HealthCheck,
  state: HealthState,
  passed: boolean,
  sinceStartMs: number,
): HealthState {
  if (passed) return { status: 'healthy', failingStreak: 0 };
  // Failures while starting do not count; that is what the start period is for.
  if (isStarting(check, state, sinceStartMs)) return state;
  const failingStreak = state.failingStreak + 1;
  return {
    status: failingStreak >= check.retries ? 'unhealthy' : state.status,
    failingStreak,
  };
}

function isStarting(check: HealthCheck, state: HealthState, sinceStartMs: number): boolean {
  return state.status === 'starting' && sinceStartMs < check.startPeriodMs;
}

function toCommand(kind: string, rest: readonly string[]): readonly string[] {
  if (kind === 'CMD') return rest;
  if (kind === 'CMD-SHELL') return ['/bin/sh', '-c', rest.join(' ')];
  // A bare list, as some image builders write it, is what it looks like.
  return [kind, ...rest];
}
