import type { NetworkJoin } from '../../proto/gen/hatoba/v1/engine.js';
import { IPAMConfig, type NetworkSpec } from '../../proto/gen/hatoba/v1/types.js';
import { splitOnce } from '../../common/split-once.js';
import { wrong } from './wrong.js';

/** The words in which people name networks, their subnets and options. */

/** Where a container is to be: a mode of this node, or networks of the cluster. */
export interface NetworkPlace {
  readonly networkMode: string;
  readonly networks: NetworkJoin[];
}

/** The modes of this node; nothing said is the bridge. */
const NODE_MODE = /^(?:|bridge|host|none|default|container:.+)$/;

/**
 * `docker run --network … --network-alias … --ip …`; aliases and address are of the first network.
 * @throws {HatobaError} invalid-argument
 */
export function readNetworkFlags(flags: {
  readonly networks: readonly string[];
  readonly aliases: readonly string[];
  readonly ip: string | undefined;
}): NetworkPlace {
  const [asked, ...others] = flags.networks.map(parseJoin);
  const first = {
    network: asked?.network ?? '',
    aliases: [...(asked?.aliases ?? []), ...flags.aliases],
    ipAddress: flags.ip ?? asked?.ipAddress ?? '',
  };
  if (others.length === 0 && isMode(first)) return nodePlace(first);
  const mode = [first, ...others].find(isMode);
  if (mode !== undefined) {
    throw wrong(`--network ${mode.network} cannot be together with other networks`);
  }
  return { networkMode: '', networks: [first, ...others] };
}

function nodePlace({ network, aliases, ipAddress }: NetworkJoin): NetworkPlace {
  if (aliases.length === 0 && ipAddress === '') return { networkMode: network, networks: [] };
  const what = aliases.length > 0 ? 'an alias' : "an address of one's own";
  throw wrong(
    `${what} needs --network with an attachable network of the cluster: "${network === '' ? 'bridge' : network}" has none`,
  );
}

function isMode({ network }: NetworkJoin): boolean {
  return NODE_MODE.test(network);
}

/** "back", "name=back,alias=db,alias=sql,ip=10.0.1.7" */
function parseJoin(text: string): NetworkJoin {
  const join: NetworkJoin = { network: '', aliases: [], ipAddress: '' };
  if (!text.includes('=')) return { ...join, network: text };
  for (const word of text.split(',')) {
    const [key, value = ''] = splitOnce(word, '=');
    if (value === '') throw wrong(`--network ${text}: "${key}" needs a value`);
    if (key === 'name') join.network = value;
    else if (key === 'alias') join.aliases.push(value);
    else if (key === 'ip') join.ipAddress = value;
    else throw wrong(`--network ${text}: unknown word "${key}"; known are name, alias, ip`);
  }
  if (join.network === '') throw wrong(`--network ${text} needs name=NETWORK`);
  return join;
}

/**
 * Subnets with the gateway and the range that lie in each, as docker pairs them.
 * @throws {HatobaError} invalid-argument for one that lies in none, or a second one for a subnet
 */
export function pairSubnets(words: {
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  readonly ranges: readonly string[];
}): IPAMConfig[] {
  const configs = words.subnets.map((subnet) => IPAMConfig.fromPartial({ subnet }));
  const around = (text: string, what: string): IPAMConfig => {
    const found = configs.find(({ subnet }) => isWithin(text, subnet));
    if (found !== undefined) return found;
    const known = words.subnets.length === 0 ? 'there is no subnet' : `not in ${words.subnets.join(', ')}`; // prettier-ignore
    throw wrong(`${what} ${text} is in no subnet of the network (${known}): say which by --subnet`);
  };
  for (const gateway of words.gateways) {
    const config = around(gateway, 'gateway');
    if (config.gateway !== '') throw wrong(`subnet ${config.subnet} has two gateways`);
    config.gateway = gateway;
  }
  for (const ipRange of words.ranges) {
    const config = around(ipRange, 'range');
    if (config.ipRange !== '') throw wrong(`subnet ${config.subnet} has two ranges`);
    config.ipRange = ipRange;
  }
  return configs;
}

/** Docker's options that have a field here. */
const MTU_OPTION = 'com.docker.network.driver.mtu';
const VNI_OPTION = 'com.docker.network.driver.overlay.vxlanid_list';

/**
 * What the options of a driver ask for; others are kept as they are.
 * @throws {HatobaError} invalid-argument
 */
export function readDriverOptions(
  options: Readonly<Record<string, string>>,
): Pick<NetworkSpec, 'options'> & Partial<Pick<NetworkSpec, 'mtuBytes' | 'vni'>> {
  const { [MTU_OPTION]: mtu, [VNI_OPTION]: vni, ...rest } = options;
  if (Object.hasOwn(rest, 'encrypted')) {
    throw wrong('encrypted networks are not supported yet: leave the option "encrypted" out');
  }
  return {
    options: rest,
    ...(mtu === undefined ? {} : { mtuBytes: wholeNumber(MTU_OPTION, mtu) }),
    ...(vni === undefined ? {} : { vni: wholeNumber(VNI_OPTION, vni) }),
  };
}

function wholeNumber(option: string, text: string): number {
  if (/^\d{1,8}$/.test(text)) return Number(text);
  throw wrong(`option "${option}" takes a whole number, not "${text}"`);
}

/** Whether an address, or a smaller subnet, lies in a subnet; words that are none lie in none. */
function isWithin(text: string, subnet: string): boolean {
  const [outer, inner] = [parse(subnet), parse(text)];
  if (outer === undefined || inner === undefined || inner.length < outer.length) return false;
  const size = 2 ** (32 - outer.length);
  return Math.floor(inner.base / size) === Math.floor(outer.base / size);
}

function parse(text: string): { base: number; length: number } | undefined {
  const [, address = '', length = '32'] = /^(\d+\.\d+\.\d+\.\d+)(?:\/(\d+))?$/.exec(text) ?? [];
  const parts = address.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => part > 255) || Number(length) > 32) {
    return undefined;
  }
  return { base: parts.reduce((sum, part) => sum * 256 + part, 0), length: Number(length) };
}
