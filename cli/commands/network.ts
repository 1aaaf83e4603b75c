import { Option, type Command } from 'commander';
import { isKind } from '../../common/errors.js';
import { EngineClient, type EngineNetwork } from '../../proto/gen/hatoba/v1/engine.js';
import { NetworkSpec } from '../../proto/gen/hatoba/v1/types.js';
import { checkNetwork } from '../../proto/wire/check.js';
import { localTarget, openClient, unary } from '../../proto/wire/client.js';
import { hostnames } from '../api.js';
import { agentSocket } from '../context.js';
import { oneByOne } from '../for-each.js';
import { confirm } from '../output/confirm.js';
import { formatListing, formatObject } from '../output/listing.js';
import {
  dockerNetwork,
  dockerNodeNetwork,
  networkRow,
  NETWORKS,
  nodeNetworkRow,
} from '../output/network-rows.js';
import { print } from '../output/print.js';
import { pause } from '../pause.js';
import { withControl, type Session } from '../session.js';
import { pairSubnets, readDriverOptions } from '../words/networks.js';
import {
  asInspect,
  asListing,
  collect,
  integerOption,
  toMap,
  type InspectOptions,
  type ListingOptions,
} from './options.js';

/** `hatoba network create|ls|inspect|rm|prune`. */
export function registerNetwork(program: Command): void {
  const network = program.command('network').description('what joins containers of all machines');
  registerCreate(network);
  asListing(network.command('ls').description('list networks')).action((options: ListingOptions) =>
    withControl((session) => list(session, options)),
  );
  asInspect(
    network
      .command('inspect <network...>')
      .description('show all of networks: subnets, how full they are, and who is on them'),
  )
    .addOption(new Option('-v, --verbose').hideHelp()) // it always is
    .action((names: string[], options: InspectOptions) =>
      withControl((session) => inspect(session, names, options)),
    );
  network
    .command('rm <network...>')
    .description('remove networks that nobody is on')
    .option('-f, --force', 'one that is not there is no error', false)
    .action((names: string[], { force }: { force: boolean }) =>
      withControl((session) =>
        oneByOne(session.signal, names, (name) => remove(session, name, force)),
      ),
    );
  network
    .command('prune')
    .description('remove all networks that nobody is on')
    .option('-f, --force', 'do not ask', false)
    .action(({ force }: { force: boolean }) => withControl((session) => prune(session, force)));
}

interface CreateFlags {
  driver: string;
  subnet: string[];
  gateway: string[];
  ipRange: string[];
  internal: boolean;
  attachable: boolean;
  label: string[];
  opt: string[];
  mtu?: number;
  vni?: number;
  hostAccess: boolean;
}

function registerCreate(network: Command): void {
  network
    .command('create <name>')
    .description('make a network; without a subnet it gets one of the pools of the cluster')
    .addOption(
      new Option('-d, --driver <driver>', 'overlay: one for all nodes; bridge: one on each node')
        .choices(['overlay', 'bridge'])
        .default('overlay'),
    )
    .option('--subnet <cidr>', 'where its addresses are from; repeatable', collect, [])
    .option('--gateway <address>', 'of the subnet that it is in; repeatable', collect, [])
    .option('--ip-range <cidr>', 'the part of a subnet to give from; repeatable', collect, [])
    .option('--internal', 'no way out of it, and no ports published', false)
    .option('--attachable', 'open to containers of "hatoba run --network"', false)
    .option('--label <key=value>', 'repeatable', collect, [])
    .option('-o, --opt <key=value>', 'an option of the driver; repeatable', collect, [])
    .option(
      '--mtu <bytes>',
      'largest packet; what fits through the tunnels by default',
      integerOption,
    ) // prettier-ignore
    .option('--vni <number>', 'number of its tunnels; chosen by default', integerOption)
    .option('--host-access', 'its containers may reach what listens on the nodes', false)
    .action((name: string, flags: CreateFlags) =>
      withControl(async ({ control, signal }) => {
        const spec = toSpec(name, flags);
        print((await unary(control.createNetwork.bind(control), { spec }, { signal })).id);
      }),
    );
}

function toSpec(name: string, flags: CreateFlags): NetworkSpec {
  const { driver, internal, attachable, hostAccess } = flags;
  return NetworkSpec.fromPartial({
    ...{ name, driver, internal, attachable, hostAccess },
    labels: toMap(flags.label, '--label', true),
    ...readDriverOptions(toMap(flags.opt, '--opt', true)),
    ipam: pairSubnets({ subnets: flags.subnet, gateways: flags.gateway, ranges: flags.ipRange }),
    ...(flags.mtu === undefined ? {} : { mtuBytes: flags.mtu }),
    ...(flags.vni === undefined ? {} : { vni: flags.vni }),
  });
}

async function list(session: Session, options: ListingOptions): Promise<void> {
  const { control, signal } = session;
  const { networks } = await unary(control.listNetworks.bind(control), {}, { signal });
  const rows = [
    ...networks.map((network) => networkRow(checkNetwork(network))),
    ...(await nodeNetworks(session)).map(nodeNetworkRow),
  ];
  print(formatListing(rows.sort((a, b) => (a.name < b.name ? -1 : 1)), NETWORKS, options)); // prettier-ignore
}

async function inspect(
  session: Session,
  names: readonly string[],
  options: InspectOptions,
): Promise<void> {
  const hosts = await hostnames(session);
  const found: object[] = [];
  for (const name of names) found.push(await inspectOne(session, name, hosts));
  print(formatObject(found, options));
}

async function inspectOne(
  session: Session,
  name: string,
  hosts: ReadonlyMap<string, string>,
): Promise<object> {
  const { control, signal } = session;
  try {
    const request = { network: name };
    const details = await unary(control.inspectNetwork.bind(control), request, { signal });
    if (details.network === undefined) throw new Error('the manager answered without a network');
    return dockerNetwork({ ...details, network: checkNetwork(details.network) }, hosts);
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    const own = (await nodeNetworks(session)).find((n) => n.name === name || n.id === name);
    if (own === undefined) throw error;
    return dockerNodeNetwork(own);
  }
}

/** Those of this node alone; none where no agent answers. */
async function nodeNetworks({ config, signal }: Session): Promise<EngineNetwork[]> {
  const engine = openClient(EngineClient, localTarget(await agentSocket(config)));
  try {
    const options = { signal, timeoutMs: 2000 };
    return (await unary(engine.networkList.bind(engine), {}, options)).networks;
  } catch (error) {
    if (isKind(error, 'unavailable', 'deadline')) return [];
    throw error;
  } finally {
    engine.close();
  }
}

const POLL_MS = 50;
const PATIENCE_MS = 10_000;

/** Removes it, and waits a while until its name is free. */
async function remove(session: Session, network: string, force: boolean): Promise<void> {
  const { control, signal } = session;
  try {
    const { id } = await unary(control.getNetwork.bind(control), { network }, { signal });
    await unary(control.removeNetwork.bind(control), { network: id }, { signal });
    const endMs = Date.now() + PATIENCE_MS;
    while ((await isThere(session, id)) && Date.now() < endMs) {
      await pause(POLL_MS, signal);
    }
  } catch (error) {
    if (!(force && isKind(error, 'not-found'))) throw error;
  }
  print(network);
}

async function isThere({ control, signal }: Session, id: string): Promise<boolean> {
  try {
    await unary(control.getNetwork.bind(control), { network: id }, { signal });
    return true;
  } catch (error) {
    if (isKind(error, 'not-found')) return false;
    throw error;
  }
}

async function prune(session: Session, force: boolean): Promise<void> {
  await confirm('This will remove all networks that nobody is on.', force);
  const { control, signal } = session;
  const { networks } = await unary(control.listNetworks.bind(control), {}, { signal });
  const own = networks
    .map(checkNetwork)
    .filter(({ spec, pendingDelete }) => networkCanGo(spec) && !pendingDelete);
  for (const { spec } of own) await removeUnused(session, spec.name);
}

async function removeUnused(session: Session, network: string): Promise<void> {
  const { control, signal } = session;
  try {
    const details = await unary(control.inspectNetwork.bind(control), { network }, { signal });
    const users = [details.services, details.tasks, details.containers].flat();
    if (users.length === 0) await remove(session, network, false);
  } catch (error) {
    // it has gone, or somebody has joined it, meanwhile
    if (!isKind(error, 'not-found', 'failed-precondition')) throw error;
  }
}

/** Those that every cluster has stay. */
function networkCanGo({ driver, ingress }: NetworkSpec): boolean {
  return !ingress && driver !== 'host' && driver !== 'none';
}
