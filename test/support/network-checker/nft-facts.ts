import { command } from '../../../deploy/dev/command.js';

/**
 * What the elements of our nftables table say, by their shape rather than by the names of their
 * sets: a map from an address to another is a load balancer, one from protocol and port to address
 * and port publishes.
 */
export async function nftFacts(netns: string): Promise<string[]> {
  const objects = await listTable(netns);
  return objects.flatMap(({ map }) => (map?.elem ?? []).flatMap((e) => elementFacts(tokens(e))));
}

/** Every element of every set and map, as text. */
export async function nftElements(netns: string): Promise<string[]> {
  const objects = await listTable(netns);
  return objects.flatMap(({ map, set }) => {
    const { name = '', elem = [] } = map ?? set ?? {};
    return elem.map((element) => `${name}: ${words(element).join(' ')}`);
  });
}

async function listTable(netns: string): Promise<NftObject[]> {
  const args = [`--net=/run/netns/${netns}`, 'nft', '--json', 'list', 'table', 'ip', 'hatoba'];
  return (JSON.parse(await command('nsenter', args)) as { nftables: NftObject[] }).nftables;
}

interface NftObject {
  map?: { name: string; elem?: [key: unknown, data: unknown][] };
  set?: { name: string; elem?: unknown[] };
}

interface Tokens {
  key: string[];
  data: string[];
}

const ADDRESS = /^\d+\.\d+\.\d+\.\d+$/;
const PROTOCOL = /^(tcp|udp|sctp)$/;
const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

function elementFacts({ key, data }: Tokens): string[] {
  const [first = ''] = key;
  const [to = '', port] = data;
  if (MAC.test(first) && /^\d+$/.test(to)) return [`peer ${first} has mark ${to}`];
  if (!ADDRESS.test(to)) return [];
  const protocol = key.find((k) => PROTOCOL.test(k));
  if (protocol !== undefined && port !== undefined) {
    return [`publish ${protocol} ${key[key.indexOf(protocol) + 1] ?? ''} to ${to}:${port}`];
  }
  return ADDRESS.test(first) ? [`balance ${first} to ${to}`] : [];
}

function tokens([key, data]: [unknown, unknown]): Tokens {
  return { key: words(key), data: words(data) };
}

/** The values in nft's JSON, whatever they are wrapped in: {elem: {val: {concat: ["tcp", 80]}}}. */
function words(value: unknown): string[] {
  if (typeof value === 'string' || typeof value === 'number') return [String(value)];
  if (Array.isArray(value)) return value.flatMap(words);
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(words);
}
