import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HatobaError } from '../common/errors.js';
import { toWord } from '../common/model/words.js';
import { hostAt, MAX_HOSTS, placesOf, type Host } from '../deploy/dev/layout.js';
import {
  forgetRunDir,
  hostLauncher,
  killProcesses,
  removeCgroups,
  unmountUnder,
} from '../deploy/dev/power.js';
import {
  readDevCluster,
  removeDevFiles,
  writeDevCluster,
  type DevCluster,
} from '../deploy/dev/state.js';
import {
  checkKernel,
  isPluggedIn,
  plugIn,
  setLink,
  setUpUnderlay,
  tearDownUnderlay,
  unplug,
} from '../deploy/dev/underlay.js';
import { ControlClient } from '../proto/gen/hatoba/v1/control.js';
import { localTarget, openClient, unary } from '../proto/wire/client.js';
import type { CliConfig } from './config.js';
import { dropContext, useContext } from './context.js';
import { ExitCodeError } from './failure.js';
import {
  runAgent,
  runManager,
  startAgent,
  startManager,
  type NodeSettings,
} from './node/bring-up.js';
import { configFile, daemonPid, stopDaemon } from './node/daemons.js';
import { formatListing, type Listing, type ListingOptions } from './output/listing.js';
import { note, print } from './output/print.js';

const READY_MS = 60_000;

interface HostRow {
  name: string;
  address: string;
  role: string;
  running: boolean;
  partitioned: boolean;
}
const HOSTS: Listing<HostRow> = {
  key: (h) => h.name,
  columns: [
    { title: 'NAME', value: (h) => h.name },
    { title: 'ADDRESS', value: (h) => h.address },
    { title: 'ROLE', value: (h) => h.role },
    { title: 'RUNNING', value: (h) => (h.running ? 'yes' : 'no') },
    { title: 'NETWORK', value: (h) => (h.partitioned ? 'cut' : 'ok') },
  ],
};

/** What `hatoba dev` does: the hosts of deploy/dev/ with the daemons of cli/node/ on them. */
export class DevControl {
  readonly #config: CliConfig;

  constructor(config: CliConfig) {
    this.#config = config;
  }

  /** Starts the hosts that are missing or broken, and waits until all are ready nodes. */
  async up(wanted: {
    nodes: number;
    managers: number;
    insecureRegistry: readonly string[];
  }): Promise<void> {
    checkSize(wanted);
    await checkKernel();
    const former = await readDevCluster();
    const count = Math.max(wanted.nodes, former?.hosts.length ?? 0);
    const hosts = Array.from({ length: count }, (_, i) => hostAt(i + 1, wanted.managers));
    const { switchedForwarding } = await setUpUnderlay();
    const cluster: DevCluster = {
      hosts,
      partitioned: [],
      switchedForwarding: switchedForwarding || (former?.switchedForwarding ?? false),
      insecureRegistries: [
        ...new Set([...(former?.insecureRegistries ?? []), ...wanted.insecureRegistry]),
      ],
    };
    await writeDevCluster(cluster);
    const [first, ...others] = hosts;
    if (first === undefined) return;
    await this.#powerOn(first, cluster);
    await useContext(this.#config, 'dev', managerSocketOf(first));
    await Promise.all(others.map((host) => this.#powerOn(host, cluster)));
    await waitForNodes(
      first,
      hosts.map((h) => h.name),
    );
    note(
      `${hosts.length} hosts are ready: ${hosts.map((h) => `${h.name} ${h.address}`).join(', ')}`,
    );
  }

  async list(options: ListingOptions): Promise<void> {
    const cluster = await readDevCluster();
    const rows = (cluster?.hosts ?? []).map((host) => ({
      ...host,
      running: isPluggedIn(host) && daemonPid('agent', placesOf(host)) !== undefined,
      partitioned: cluster?.partitioned.includes(host.name) ?? false,
    }));
    print(formatListing(rows, HOSTS, options));
  }

  /** @throws {ExitCodeError} with the command's exit code, unless it is 0 */
  async exec(name: string, command: readonly string[]): Promise<void> {
    const { host } = await requireHost(name);
    requirePower(host);
    const [file, ...args] = [...(await hostLauncher(host)), ...command] as [string, ...string[]];
    const env = {
      ...this.#config.variables,
      HATOBA_HOST: managerSocketOf(host),
      HATOBA_AGENT: agentSocketOf(host),
    };
    const child = spawn(file, args, { stdio: 'inherit', env });
    const code = await new Promise<number>((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (exitCode, signal) => resolve(exitCode ?? (signal === null ? 1 : 130)));
    });
    if (code !== 0) throw new ExitCodeError(code);
  }

  async kill(name: string): Promise<void> {
    const { host } = await requireHost(name);
    await powerOff(host);
  }

  async start(name: string): Promise<void> {
    const { host, cluster } = await requireHost(name);
    await this.#powerOn(host, cluster);
    await writeDevCluster({
      ...cluster,
      partitioned: cluster.partitioned.filter((n) => n !== name),
    });
  }

  async stopDaemons(name: string): Promise<void> {
    const { host } = await requireHost(name);
    await stopDaemon('agent', placesOf(host));
    await stopDaemon('manager', placesOf(host));
  }

  async startDaemons(name: string): Promise<void> {
    const { host } = await requireHost(name);
    requirePower(host);
    await runDaemons(host);
  }

  async partition(name: string): Promise<void> {
    const { host, cluster } = await requireHost(name);
    requirePower(host);
    await setLink(host, false);
    await writeDevCluster({
      ...cluster,
      partitioned: [...new Set([...cluster.partitioned, name])],
    });
  }

  async heal(name: string): Promise<void> {
    const { host, cluster } = await requireHost(name);
    requirePower(host);
    await setLink(host, true);
    await writeDevCluster({
      ...cluster,
      partitioned: cluster.partitioned.filter((n) => n !== name),
    });
  }

  /** Leaves nothing: no process, namespace, mount, cgroup, table or file. */
  async down(): Promise<void> {
    const cluster = await readDevCluster();
    await Promise.all((cluster?.hosts ?? []).map(powerOff));
    await tearDownUnderlay({ switchedForwarding: cluster?.switchedForwarding ?? false });
    for (const host of cluster?.hosts ?? []) await unmountUnder(placesOf(host).root);
    removeCgroups();
    await removeDevFiles();
    await dropContext(this.#config, 'dev');
  }

  async #powerOn(host: Host, cluster: DevCluster): Promise<void> {
    const places = placesOf(host);
    await plugIn(host);
    await setLink(host, true);
    if (existsSync(configFile('agent', places))) {
      await runDaemons(host);
      return;
    }
    const node: NodeSettings = {
      ...places,
      advertiseAddr: host.address,
      hostname: host.name,
      cgroupParent: `/${places.cgroup}`,
      insecureRegistries: cluster.insecureRegistries,
      launcher: await hostLauncher(host),
    };
    const first = cluster.hosts[0] ?? host;
    if (host.role === 'manager') await startManager(node);
    const joinToken = host.role === 'manager' ? undefined : await workerToken(first);
    await startAgent(node, [`${first.address}:4400`], joinToken);
  }
}

async function runDaemons(host: Host): Promise<void> {
  const node = { ...placesOf(host), launcher: await hostLauncher(host) };
  if (existsSync(configFile('manager', node))) await runManager(node);
  await runAgent(node);
}

/** Everything in the host ends at once; its disk stays. */
async function powerOff(host: Host): Promise<void> {
  // the network goes first: a machine without power takes leave of nobody
  if (isPluggedIn(host)) await setLink(host, false);
  await killProcesses(host);
  await forgetRunDir(host);
  await unplug(host);
  removeCgroups(host);
}

function checkSize({ nodes, managers }: { nodes: number; managers: number }): void {
  if (nodes < 1 || nodes > MAX_HOSTS) {
    throw new HatobaError('invalid-argument', `--nodes must be between 1 and ${MAX_HOSTS}`);
  }
  if (managers !== 1) {
    throw new HatobaError(
      'unimplemented',
      'clusters with several managers are not supported yet: --managers 1',
    );
  }
}

async function requireHost(name: string): Promise<{ host: Host; cluster: DevCluster }> {
  const cluster = await readDevCluster();
  if (cluster === undefined) {
    throw new HatobaError(
      'not-found',
      'there is no development cluster; start one with "hatoba dev up"',
    );
  }
  const host = cluster.hosts.find((h) => h.name === name);
  if (host !== undefined) return { host, cluster };
  const names = cluster.hosts.map((h) => h.name).join(', ');
  throw new HatobaError('not-found', `there is no host "${name}"; there are ${names}`);
}

function requirePower(host: Host): void {
  if (isPluggedIn(host)) return;
  throw new HatobaError(
    'failed-precondition',
    `${host.name} is switched off; "hatoba dev start ${host.name}"`,
  );
}

function managerSocketOf(host: Host): string {
  return join(placesOf(host).runDir, 'manager.sock');
}

function agentSocketOf(host: Host): string {
  return join(placesOf(host).runDir, 'agent.sock');
}

async function workerToken(manager: Host): Promise<string> {
  const control = openClient(ControlClient, localTarget(managerSocketOf(manager)));
  try {
    return (await unary(control.getJoinTokens.bind(control), {})).worker;
  } finally {
    control.close();
  }
}

async function waitForNodes(manager: Host, names: readonly string[]): Promise<void> {
  const control = openClient(ControlClient, localTarget(managerSocketOf(manager)));
  try {
    const deadline = Date.now() + READY_MS;
    for (;;) {
      const { nodes } = await unary(control.listNodes.bind(control), {});
      const ready = nodes.filter((n) => toWord(n.status?.state ?? '') === 'ready');
      const missing = names.filter((name) => !ready.some((n) => n.description?.hostname === name));
      if (missing.length === 0) return;
      if (Date.now() > deadline) {
        throw new HatobaError(
          'deadline',
          `not ready after ${READY_MS / 1000} s: ${missing.join(', ')}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  } finally {
    control.close();
  }
}
