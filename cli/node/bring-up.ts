import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { formatDurationMs } from '../../common/duration.js';
import { AgentClient } from '../../proto/gen/hatoba/v1/agent.js';
import { ControlClient, type SystemInfo } from '../../proto/gen/hatoba/v1/control.js';
import { localTarget, openClient, unary } from '../../proto/wire/client.js';
import { configFile, startDaemon, type DaemonKind, type NodeFolders } from './daemons.js';

/** One node's settings, for the configuration files of its daemons. */
export interface NodeSettings extends NodeFolders {
  advertiseAddr: string;
  etcdEndpoints?: readonly string[];
  etcdCa?: string | undefined;
  etcdCert?: string | undefined;
  etcdKey?: string | undefined;
  dataPathAddr?: string;
  hostname?: string;
  cgroupParent?: string;
  insecureRegistries?: readonly string[];
  defaultAddrPool?: readonly string[];
  /** Prefix length of the subnets cut from the pools. */
  subnetSize?: number | undefined;
  dataPathPort?: number | undefined;
  /** Above 0. */
  networkWaitMs?: number | undefined;
  /** argv in front of the daemons', to start them in a namespace. */
  launcher?: readonly string[];
}

/** Starts a manager (and, on a new root, a cluster) on this machine; waits until it leads. */
export async function startManager(node: NodeSettings): Promise<void> {
  await writeConfig('manager', node, {
    root: node.root,
    runDir: node.runDir,
    advertiseAddr: node.advertiseAddr,
    etcdEndpoints: node.etcdEndpoints,
    etcdCa: node.etcdCa,
    etcdCert: node.etcdCert,
    etcdKey: node.etcdKey,
    defaultAddrPool: node.defaultAddrPool,
    subnetSize: node.subnetSize,
    dataPathPort: node.dataPathPort,
    networkWait:
      node.networkWaitMs === undefined ? undefined : formatDurationMs(node.networkWaitMs),
  });
  await runManager(node);
}

/** Starts the manager that is configured in `node.root`. */
export async function runManager(
  node: NodeFolders & { launcher?: readonly string[] },
): Promise<void> {
  await startDaemon('manager', node, {
    ...launcherOf(node),
    isReady: async () => ((await systemInfo(node))?.leaderNodeId ?? '') !== '',
  });
}

/**
 * Starts the agent of this machine and waits until it answers and holds a certificate.
 * @param joinToken for a machine that is not a node yet
 */
export async function startAgent(
  node: NodeSettings,
  managers: readonly string[],
  joinToken?: string,
): Promise<void> {
  await writeConfig('agent', node, {
    root: node.root,
    runDir: node.runDir,
    managers,
    joinToken,
    advertiseAddr: node.advertiseAddr,
    dataPathAddr: node.dataPathAddr,
    hostname: node.hostname,
    cgroupParent: node.cgroupParent,
    insecureRegistries: node.insecureRegistries,
  });
  await runAgent(node);
}

/** Starts the agent that is configured in `node.root`. */
export async function runAgent(
  node: NodeFolders & { launcher?: readonly string[] },
): Promise<void> {
  await startDaemon('agent', node, {
    ...launcherOf(node),
    isReady: async () =>
      existsSync(join(node.root, 'pki', 'node.crt')) && (await agentAnswers(node)),
  });
}

/** What the manager of this node says of itself; undefined when it does not answer (yet). */
export async function systemInfo({ runDir }: NodeFolders): Promise<SystemInfo | undefined> {
  const control = openClient(ControlClient, localTarget(join(runDir, 'manager.sock')));
  try {
    return await unary(control.getSystemInfo.bind(control), {}, { timeoutMs: 2000 });
  } catch {
    return undefined;
  } finally {
    control.close();
  }
}

async function agentAnswers({ runDir }: NodeFolders): Promise<boolean> {
  const agent = openClient(AgentClient, localTarget(join(runDir, 'agent.sock')));
  try {
    await unary(agent.imageList.bind(agent), {}, { timeoutMs: 2000 });
    return true;
  } catch {
    return false;
  } finally {
    agent.close();
  }
}

function launcherOf(node: { launcher?: readonly string[] }): { launcher?: readonly string[] } {
  return node.launcher === undefined ? {} : { launcher: node.launcher };
}

async function writeConfig(
  kind: DaemonKind,
  node: NodeFolders,
  values: Readonly<Record<string, unknown>>,
): Promise<void> {
  await mkdir(node.root, { recursive: true, mode: 0o711 });
  const given = Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined));
  // the join token is a secret
  await writeFile(configFile(kind, node), stringify(given), { mode: 0o600 });
}
