import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { runDaemon, type DaemonContext } from '../common/adapters/daemon.js';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { parseDurationMs } from '../common/duration.js';
import { HatobaError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { openKernel } from '../linux/kernel.js';
import { openNetworkDriver } from '../overlay-net/linux-driver.js';
import type { GarbageRules } from '../runtime/engine.js';
import { openEngine } from '../runtime/open-engine.js';
import { startAgent } from './agent.js';
import { parseConfig, toPrintable, type AgentConfig } from './config.js';
import { mtuOf } from './executor/underlay.js';
import { lookAtHost } from './local/host-network.js';
import { RestartGate } from './local/restart-gate.js';
import { enrol } from './session/enrol.js';
import { readIdentity, type AgentIdentity } from './session/identity.js';

/**
 * hatoba-agent: runs the tasks of one node until SIGTERM or SIGINT.
 *
 * Its end, orderly or not, leaves containers, their networks, service addresses and published
 * ports as they are and working; the next agent takes all of them up again. What ends with the
 * process is what the process does itself: names are not answered, health is not probed, logs are
 * not rotated and assignments not followed until an agent runs again.
 */
await runDaemon({
  name: 'agent',
  parseConfig: (sources) => parseConfig(sources, hostname()),
  toPrintable,
  start,
});

async function start(
  config: AgentConfig,
  { logger, stack, signal, onFatal }: DaemonContext,
): Promise<void> {
  const [clock, random] = [systemClock, systemRandom];
  const folder = join(config.root, 'agent');
  await mkdir(folder, { recursive: true, mode: 0o711 });
  const identity = await identityOf(config, logger, signal);
  const kernel = stack.use('kernel', await openKernel({ onFailure: onFatal }));
  const restarts = new RestartGate();
  const engine = stack.use(
    'container engine',
    await openEngine(
      {
        stateDir: join(folder, 'engine'),
        runDir: config.runDir,
        cgroupParent: config.cgroupParent,
        insecureRegistries: config.insecureRegistries,
        registryMirrors: config.registryMirrors,
        credentialsFile: join(config.root, 'credentials.json'),
        ...(config.snapshotter === 'auto' ? {} : { snapshotter: config.snapshotter }),
        garbage: garbageRules(config),
      },
      { kernel, clock, random, logger, beforeRestart: restarts.pass },
    ),
  );
  stack.defer('restarts of containers', () => restarts.close());
  const driver = stack.use(
    'networks',
    await openNetworkDriver(
      {
        stateDir: join(folder, 'network'),
        runDir: config.runDir,
        forwardRules: config.forwardRules,
      },
      { kernel, clock, logger },
    ),
  );
  const modules = {
    engine,
    driver,
    mtuOf: mtuOf(kernel.netlink),
    lookAtHost: () => lookAtHost(kernel.netlink),
    restarts,
    clock,
    random,
    onFatal,
  };
  stack.use('agent', await startAgent(config, identity, { ...modules, log: logger }));
}

function garbageRules(config: AgentConfig): Partial<GarbageRules> {
  return {
    imageMinAgeMs: parseDurationMs(config.imageMinAge),
    partialMaxAgeMs: parseDurationMs(config.partialMaxAge),
    diskHighWatermark: config.diskHighWatermark / 100,
    diskLowWatermark: config.diskLowWatermark / 100,
  };
}

/** The identity of this node; a machine that has none yet joins with its token. */
async function identityOf(
  config: AgentConfig,
  log: Logger,
  signal: AbortSignal,
): Promise<AgentIdentity> {
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
  const identity = await enrol(options, { clock: systemClock, random: systemRandom, log }, signal);
  log.info('Joined the cluster', { nodeId: identity.nodeId, role: identity.role });
  return identity;
}
