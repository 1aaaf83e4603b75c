import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { HatobaError } from '../../common/errors.js';
import { ControlClient } from '../../proto/gen/hatoba/v1/control.js';
import { localTarget, openClient, unary } from '../../proto/wire/client.js';
import { UsageError } from '../failure.js';
import { daemonPid } from '../node/daemons.js';
import { startAgent, startManager, systemInfo, type NodeSettings } from '../node/bring-up.js';
import { print } from '../output/print.js';
import { collect, integerOption, positiveDurationOption } from './options.js';

interface NodeFlags {
  root: string;
  runDir: string;
  advertiseAddr?: string;
  dataPathAddr?: string;
  hostname?: string;
  cgroupParent?: string;
  insecureRegistry: string[];
}

interface InitFlags extends NodeFlags {
  etcdEndpoints?: string;
  etcdCa?: string;
  etcdCert?: string;
  etcdKey?: string;
  defaultAddrPool: string[];
  defaultAddrPoolMaskLength?: number;
  dataPathPort?: number;
  networkWait?: number;
}

const MANAGER_PORT = 4400;

/** `hatoba init` and `hatoba join`. */
export function registerCluster(program: Command): void {
  asNode(
    program.command('init').description('make this machine the first manager of a new cluster'),
  )
    .option('--etcd-endpoints <urls>', 'use this etcd instead of an own one; comma-separated')
    .option('--etcd-ca <file>', 'PEM file: who may be that etcd')
    .option('--etcd-cert <file>', 'PEM file: our certificate for it')
    .option('--etcd-key <file>', 'PEM file: the key of --etcd-cert')
    .option(
      '--default-addr-pool <cidr>',
      'cut networks from here; may be given several times',
      collect,
      [],
    )
    .option(
      '--default-addr-pool-mask-length <bits>',
      'prefix length of the networks cut from there; 24 by default',
      integerOption,
    )
    .option(
      '--data-path-port <port>',
      'UDP port of the tunnels between nodes; 4789 by default',
      integerOption,
    )
    .option(
      '--network-wait <duration>',
      'how long a task that starts or stops waits for the networks of slow nodes; 5s by default',
      positiveDurationOption,
    )
    .action(init);
  asNode(
    program
      .command('join <address>')
      .description('make this machine a node; HOST:4400 of a manager'),
  )
    .requiredOption('--token <token>', 'from "hatoba token show worker"')
    .action((address: string, flags: NodeFlags & { token: string }) => join_(address, flags));
}

function asNode(command: Command): Command {
  return command
    .option('--advertise-addr <address>', 'address at which other nodes reach this one')
    .option('--data-path-addr <address>', 'address of this end of the tunnels, if another')
    .option('--hostname <name>', 'name of the node; the host name by default')
    .option(
      '--insecure-registry <host:port>',
      'pull from it by HTTP; may be given several times',
      collect,
      [],
    )
    .option('--cgroup-parent <path>', 'cgroup of all containers', '/hatoba')
    .option('--root <dir>', 'state folder', '/var/lib/hatoba')
    .option('--run-dir <dir>', 'folder of sockets', '/run/hatoba');
}

async function init(flags: InitFlags): Promise<void> {
  requireRoot();
  if ((await systemInfo(flags)) !== undefined) {
    throw new HatobaError('failed-precondition', 'this machine is already a manager of a cluster');
  }
  const node = settingsOf(flags);
  const { etcdEndpoints, etcdCa, etcdCert, etcdKey } = flags;
  await startManager({
    ...node,
    ...(etcdEndpoints === undefined ? {} : { etcdEndpoints: etcdEndpoints.split(',') }),
    ...{ etcdCa, etcdCert, etcdKey },
    ...(flags.defaultAddrPool.length > 0 ? { defaultAddrPool: flags.defaultAddrPool } : {}),
    ...{ subnetSize: flags.defaultAddrPoolMaskLength, dataPathPort: flags.dataPathPort },
    networkWaitMs: flags.networkWait,
  });
  const address = `${node.advertiseAddr}:${MANAGER_PORT}`;
  await startAgent(node, [address]);
  const control = openClient(ControlClient, localTarget(join(node.runDir, 'manager.sock')));
  try {
    const info = await unary(control.getSystemInfo.bind(control), {});
    const { worker } = await unary(control.getJoinTokens.bind(control), {});
    print(`Cluster ${info.clusterId} is ready; this machine (${info.nodeId}) is its manager.`);
    print(`\nTo add a worker, run there:\n\n    hatoba join --token ${worker} ${address}\n`);
  } finally {
    control.close();
  }
}

async function join_(address: string, flags: NodeFlags & { token: string }): Promise<void> {
  requireRoot();
  const target = /:\d+$/.test(address) ? address : `${address}:${MANAGER_PORT}`;
  const isNode = existsSync(join(flags.root, 'pki', 'node.crt'));
  if (isNode && daemonPid('agent', flags) !== undefined) {
    throw new HatobaError('failed-precondition', 'this machine is already a node of a cluster');
  }
  await startAgent(settingsOf(flags), [target], flags.token);
  print(`This machine joined the cluster at ${target} as a worker.`);
}

function settingsOf(flags: NodeFlags): NodeSettings {
  const { root, runDir, dataPathAddr, hostname, cgroupParent } = flags;
  return {
    root,
    runDir,
    advertiseAddr: flags.advertiseAddr ?? ownAddress(),
    insecureRegistries: flags.insecureRegistry,
    ...(dataPathAddr === undefined ? {} : { dataPathAddr }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(cgroupParent === undefined ? {} : { cgroupParent }),
  };
}

/** The one address of this machine. @throws {UsageError} when there are several, naming them */
function ownAddress(): string {
  const addresses = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((a) => a.family === 'IPv4' && !a.internal)
    .map((a) => a.address);
  const [only, other] = addresses;
  if (only !== undefined && other === undefined) return only;
  const found = only === undefined ? 'none but loopback' : addresses.join(', ');
  throw new UsageError(`this machine has no single address (${found}): say --advertise-addr`);
}

/** @throws {HatobaError} permission-denied */
export function requireRoot(): void {
  if (process.getuid?.() !== 0) {
    throw new HatobaError(
      'permission-denied',
      'containers and networks need root: run this with sudo',
    );
  }
}
