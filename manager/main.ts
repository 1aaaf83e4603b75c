import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { createWinstonLogger } from '../common/adapters/winston-logger.js';
import { describeError, HatobaError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { startManager, type Manager } from './compose.js';
import { loadConfig, toPrintable, type ManagerConfig } from './config.js';

/** Longest time for an orderly end; what hangs beyond it must not hold up a restart. */
const STOP_TIMEOUT_MS = 15_000;

async function main(): Promise<void> {
  process.title = 'hatoba-manager';
  const { config, checkOnly } = await loadConfig(process.argv.slice(2));
  if (checkOnly) {
    process.stdout.write(stringify(toPrintable(config)));
    return;
  }
  const logger = createWinstonLogger({ level: config.logLevel, format: config.logFormat });
  endOnBrokenPromises(logger);
  await run(config, logger);
}

async function run(config: ManagerConfig, logger: Logger): Promise<void> {
  const startMs = systemClock.nowMs();
  const end = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => end.abort(new HatobaError('cancelled', `stopped by ${name}`)));
  }
  await mkdir(config.runDir, { recursive: true });
  const pidFile = await takePidFile(join(config.runDir, 'manager.pid'));
  let manager: Manager | undefined;
  try {
    manager = await startManager(
      config,
      { clock: systemClock, random: systemRandom, logger },
      end.signal,
    );
    const tookMs = systemClock.nowMs() - startMs;
    logger.info('Started manager', { nodeId: manager.nodeId, tookMs });
    await aborted(end.signal);
    logger.info('Stopping manager', { reason: describeError(end.signal.reason) });
  } catch (error) {
    if (!end.signal.aborted) throw error;
  } finally {
    const cancel = systemClock.setTimer(STOP_TIMEOUT_MS, () => {
      logger.error('Parts of the manager did not end in time', { timeoutMs: STOP_TIMEOUT_MS });
      process.exit(1);
    });
    await manager?.[Symbol.asyncDispose]();
    cancel();
    await rm(pidFile, { force: true });
  }
  logger.info('Stopped manager');
}

/**
 * Two managers on one folder would end each other's etcd.
 * @throws {HatobaError} failed-precondition while the process in the file is a manager
 */
async function takePidFile(path: string): Promise<string> {
  const pid = Number(await readFile(path, 'utf8').catch(() => ''));
  if (Number.isInteger(pid) && pid > 0 && pid !== process.pid) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (/hatoba-manager|manager\/main\.[jt]s/.test(command)) {
      throw new HatobaError(
        'failed-precondition',
        `a manager runs already (pid ${pid}, by ${path}); stop it first`,
      );
    }
  }
  await writeFile(path, `${process.pid}\n`);
  return path;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** State that nobody answers for any more is worse than a restart. */
function endOnBrokenPromises(logger: Logger): void {
  const fatal = (error: unknown): void => {
    logger.error('Fatal error', {}, error);
    process.exit(1);
  };
  process.on('unhandledRejection', fatal);
  process.on('uncaughtException', fatal);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`hatoba-manager: ${describeError(error)}\n`);
  process.exitCode = 1;
}
