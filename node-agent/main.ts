import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { createWinstonLogger } from '../common/adapters/winston-logger.js';
import { DisposableStack } from '../common/disposable.js';
import { describeError, HatobaError, isKind } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { openKernel } from '../linux/kernel.js';
import { openNetworkDriver } from '../overlay-net/linux-driver.js';
import { openEngine } from '../runtime/open-engine.js';
import { startAgent } from './agent.js';
import { loadConfig, toPrintable, type AgentConfig } from './config.js';
import { mtuOf } from './executor/underlay.js';
import { takePidFile } from './pid-file.js';
import { enrol } from './session/enrol.js';
import { readIdentity, type AgentIdentity } from './session/identity.js';

/** Longest time for an orderly end. */
const STOP_TIMEOUT_MS = 10_000;

/**
 * hatoba-agent: runs the tasks of one node until SIGTERM or SIGINT.
 *
 * Its end, orderly or not, leaves containers, their networks, service addresses and published
 * ports as they are and working; the next agent takes all of them up again. What ends with the
 * process is what the process does itself: names are not answered, health is not probed, logs are
 * not rotated and assignments not followed until an agent runs again.
 */
async function main(): Promise<void> {
  process.title = 'hatoba-agent';
  const { config, checkOnly } = await loadConfig(process.argv.slice(2));
  if (checkOnly) {
    process.stdout.write(stringify(toPrintable(config)));
    return;
  }
  const log = createWinstonLogger({ level: config.logLevel, format: config.logFormat });
  const onFatal = (error: unknown): void => {
    log.error('Fatal error', {}, error);
    process.exit(1);
  };
  process.on('unhandledRejection', onFatal);
  process.on('uncaughtException', onFatal);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => stop.abort(new HatobaError('cancelled', `stopped by ${name}`)));
  }
  const stack = new DisposableStack();
  try {
    await run(config, { log, onFatal, stack }, stop.signal);
    log.info('Stopping agent', { reason: describeError(stop.signal.reason) });
  } finally {
    const cancel = systemClock.setTimer(STOP_TIMEOUT_MS, () => {
      log.error('Parts of the agent did not end in time', { timeoutMs: STOP_TIMEOUT_MS });
      process.exit(1);
    });
    await stack[Symbol.asyncDispose]();
    cancel();
  }
}

interface ProcessParts {
  readonly log: Logger;
  readonly onFatal: (error: unknown) => void;
  readonly stack: DisposableStack;
}

/** Starts everything on the stack, and resolves when the signal aborts. */
async function run(
  config: AgentConfig,
  { log, onFatal, stack }: ProcessParts,
  signal: AbortSignal,
): Promise<void> {
  const [clock, random] = [systemClock, systemRandom];
  const startedAtMs = clock.nowMs();
  const folder = join(config.root, 'agent');
  await mkdir(folder, { recursive: true, mode: 0o711 });
  stack.use('pid file', await takePidFile(config.runDir));
  const identity = await identityOf(config, log, signal);
  if (identity === undefined) return;
  const kernel = stack.use('kernel', await openKernel({ onFailure: onFatal }));
  const engine = stack.use(
    'container engine',
    await openEngine(
      {
        stateDir: join(folder, 'engine'),
        runDir: config.runDir,
        cgroupParent: config.cgroupParent,
        insecureRegistries: config.insecureRegistries,
      },
      { kernel, clock, random, logger: log },
    ),
  );
  const driver = stack.use(
    'networks',
    await openNetworkDriver(
      { stateDir: join(folder, 'network'), runDir: config.runDir },
      { kernel, clock, logger: log },
    ),
  );
  const modules = { engine, driver, mtuOf: mtuOf(kernel.netlink), clock, random, log, onFatal };
  stack.use('agent', await startAgent(config, identity, modules));
  const tookMs = clock.nowMs() - startedAtMs;
  log.info('Started agent', { nodeId: identity.nodeId, tookMs });
  await aborted(signal);
}

/** @returns undefined when told to stop before this machine became a node */
async function identityOf(
  config: AgentConfig,
  log: Logger,
  signal: AbortSignal,
): Promise<AgentIdentity | undefined> {
  const pkiFolder = join(config.root, 'pki');
  const known = await readIdentity(pkiFolder);
  if (known !== undefined) return known;
  const { managers, joinToken, advertiseAddr } = config;
  if (joinToken === '') {
    throw new HatobaError(
      'failed-precondition',
      `this machine is not a node yet: ${pkiFolder} has no node.crt, and no joinToken is set`,
    );
  }
  const addresses = advertiseAddr === '' ? [] : [advertiseAddr];
  const options = { managers, joinToken, addresses, pkiFolder };
  try {
    const modules = { clock: systemClock, random: systemRandom, log };
    const identity = await enrol(options, modules, signal);
    log.info('Joined the cluster', { nodeId: identity.nodeId, role: identity.role });
    return identity;
  } catch (error) {
    if (signal.aborted && isKind(error, 'cancelled')) return undefined;
    throw error;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

try {
  await main();
} catch (error) {
  process.stderr.write(`hatoba-agent: ${describeError(error)}\n`);
  process.exitCode = 1;
}
