import { command } from '../../../deploy/dev/command.js';

/**
 * What the elements of our nftables tables say, by their shape as far as possible: a map from an
 * address to another is a load balancer, one from protocol and port to address and port publishes.
 */
export async function nftFacts(netns: string): Promise<string[]> {
  return (await elements(netns)).flatMap(elementFacts);
}

/** Every element of every set and map, as text: "vips: 10.0.1.2". */
export async function nftElements(netns: string): Promise<string[]> {
  return (await elements(netns)).map(
    ({ set, key, data }) => `${set}: ${[...key, ...data].join(' ')}`,
  );
}

interface Element {
  set: string;
  key: string[];
  /** Of a map. */
  data: string[];
}

async function elements(netns: string): Promise<Element[]> {
  const objects = await Promise.all(['ip', 'bridge'].map((family) => listTable(netns, family)));
  return objects.flat().flatMap(({ map, set }) => [
    ...(map?.elem ?? []).map(([key, data]) => ({
      set: map?.name ?? '',
      key: words(key),
      data: words(data),
    })),
    ...(set?.elem ?? []).map((key) => ({ set: set?.name ?? '', key: words(key), data: [] })),
  ]);
}

async function listTable(netns: string, family: string): Promise<NftObject[]> {
  const args = [`--net=/run/netns/${netns}`, 'nft', '--json', 'list', 'table', family, 'hatoba'];
  return (JSON.parse(await command('nsenter', args)) as { nftables: NftObject[] }).nftables;
}

interface NftObject {
  map?: { name: string; elem?: [key: unknown, data: unknown][] };
  set?: { name: string; elem?: unknown[] };
}

const ADDRESS = /^\d+\.\d+\.\d+\.\d+$/;
const PROTOCOL = /^(tcp|udp|sctp)$/;
const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

function elementFacts(element: Element): string[] {
  return element.data.length === 0 ? setFacts(element) : mapFacts(element);
}

function setFacts({ set, key: [first = '', second = '', third = ''] }: Element): string[] {
  if (set === 'vips') return [`virtual address ${first}`];
  if (set === 'published_ports') return [`published ${first} ${second}`];
  return set === 'senders' ? [`may send: ${second} ${third}`] : [];
}

function mapFacts({ key, data: [to = '', port] }: Element): string[] {
  const [first = ''] = key;
  if (MAC.test(first) && /^\d+$/.test(to)) return [`peer ${first} has mark ${to}`];
  if (MAC.test(to)) return [`mark ${first} leads to ${to}`];
  if (!ADDRESS.test(to)) return [];
  const protocol = key.find((k) => PROTOCOL.test(k));
  if (protocol !== undefined && port !== undefined) {
    return [`publish ${protocol} ${key[key.indexOf(protocol) + 1] ?? ''} to ${to}:${port}`];
  }
  return ADDRESS.test(first) ? [`balance ${first} to ${to}`] : [];
}

/** The values in nft's JSON, whatever they are wrapped in: {elem: {val: {concat: ["tcp", 80]}}}. */
function words(value: unknown): string[] {
  if (typeof value === 'string' || typeof value === 'number') return [String(value)];
  if (Array.isArray(value)) return value.flatMap(words);
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(words);
}
