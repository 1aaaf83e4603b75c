import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { DisposableStack } from '../disposable.js';
import { describeError, HatobaError, wrapError } from '../errors.js';
import type { Logger, LogLevel } from '../logger.js';
import { parseCommandLine, type SettingSources } from '../settings.js';
import { systemClock } from './system-clock.js';
import { createWinstonLogger } from './winston-logger.js';

/** Longest time for an orderly end; what hangs beyond it must not hold up a restart. */
const STOP_TIMEOUT_MS = 15_000;

/** What every daemon's configuration has. */
export interface DaemonConfig {
  readonly runDir: string;
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'text';
}

export interface Daemon<C extends DaemonConfig> {
  /** "manager": the process is hatoba-manager, its pid stands in <runDir>/manager.pid. */
  readonly name: string;
  /** @throws {HatobaError} invalid-argument */
  readonly parseConfig: (sources: SettingSources) => C;
  /** For --check-config: without secrets. */
  readonly toPrintable: (config: C) => Record<string, unknown>;
  /**
   * Starts all parts on the stack, which is ended in reverse when the daemon stops; resolves when
   * it is up. The signal aborts when it is told to stop.
   */
  readonly start: (config: C, context: DaemonContext) => Promise<void>;
}

export interface DaemonContext {
  readonly logger: Logger;
  readonly stack: DisposableStack;
  readonly signal: AbortSignal;
  /** For failures that nobody answers for: says so and ends the process. */
  readonly onFatal: (error: unknown) => void;
}

/**
 * The life of a daemon, from its command line to its exit code: settings, log, pid file, the work
 * until SIGTERM or SIGINT, an orderly end. State that nobody answers for any more is worse than a
 * restart, so a broken promise ends the process.
 */
export async function runDaemon<C extends DaemonConfig>(daemon: Daemon<C>): Promise<void> {
  process.title = `hatoba-${daemon.name}`;
  try {
    const { config, checkOnly } = await loadConfig(daemon, process.argv.slice(2));
    if (checkOnly) process.stdout.write(stringify(daemon.toPrintable(config)));
    else await live(daemon, config);
  } catch (error) {
    process.stderr.write(`hatoba-${daemon.name}: ${describeError(error)}\n`);
    process.exitCode = 1;
  }
}

async function live<C extends DaemonConfig>(daemon: Daemon<C>, config: C): Promise<void> {
  const startedAtMs = systemClock.nowMs();
  const logger = createWinstonLogger({ level: config.logLevel, format: config.logFormat });
  const onFatal = (error: unknown): void => {
    logger.error('Fatal error', {}, error);
    process.exit(1);
  };
  process.on('unhandledRejection', onFatal);
  process.on('uncaughtException', onFatal);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => stop.abort(new HatobaError('cancelled', `stopped by ${name}`)));
  }
  const { signal } = stop;
  const stack = new DisposableStack();
  try {
    stack.use('pid file', await takePidFile(daemon.name, config.runDir));
    await daemon.start(config, { logger, stack, signal, onFatal });
    const tookMs = systemClock.nowMs() - startedAtMs;
    logger.info(`Started ${daemon.name}`, { tookMs });
    await aborted(signal);
    logger.info(`Stopping ${daemon.name}`, { reason: describeError(signal.reason) });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    const cancel = systemClock.setTimer(STOP_TIMEOUT_MS, () => {
      logger.error('Parts of the daemon did not end in time', { timeoutMs: STOP_TIMEOUT_MS });
      process.exit(1);
    });
    await stack[Symbol.asyncDispose]();
    cancel();
  }
  logger.info(`Stopped ${daemon.name}`);
}

async function loadConfig<C extends DaemonConfig>(
  daemon: Daemon<C>,
  argv: readonly string[],
): Promise<{ config: C; checkOnly: boolean }> {
  const { configFile, checkOnly, flags } = parseCommandLine(argv);
  const file = configFile === undefined ? undefined : await readYaml(configFile);
  return { config: daemon.parseConfig({ file, env: process.env, flags }), checkOnly };
}

async function readYaml(path: string): Promise<unknown> {
  try {
    return parse(await readFile(path, 'utf8')) as unknown;
  } catch (error) {
    throw new HatobaError('invalid-argument', wrapError(error, path).message);
  }
}

/**
 * Notes this process in <runDir>/<name>.pid; ended, the file is gone.
 * @throws {HatobaError} failed-precondition while another one has it: two on one folder would
 *   fight over what is in it
 */
async function takePidFile(name: string, runDir: string): Promise<AsyncDisposable> {
  const path = join(runDir, `${name}.pid`);
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  const pid = Number(await readFile(path, 'utf8').catch(() => ''));
  if (pid > 0 && pid !== process.pid && (await isDaemon(name, pid))) {
    throw new HatobaError(
      'failed-precondition',
      `hatoba-${name} runs already (pid ${pid}, by ${path}): stop it first`,
    );
  }
  await writeFile(path, `${process.pid}\n`);
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

/** A pid alone may have gone to another program since. */
async function isDaemon(name: string, pid: number): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return command.startsWith(`hatoba-${name}`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
