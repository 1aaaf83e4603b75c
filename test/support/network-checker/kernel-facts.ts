import { command } from '../../../deploy/dev/command.js';
import { placesOf } from '../../../deploy/dev/layout.js';
import type { Task } from '../../../common/model/objects.js';
import { taskName } from '../../../common/model/task-place.js';
import { nftFacts } from './nft-facts.js';

/** What the kernel of a host of a dev cluster holds of ours, as ip, bridge and nft show it. */
export async function kernelFacts(host: string, tasks: readonly Task[]): Promise<Set<string>> {
  const { netns } = placesOf({ name: host });
  const ip = <T>(...args: string[]): Promise<T> => json('ip', ['-netns', netns, '-json', ...args]);
  const bridge = ['-netns', netns, '-json', 'fdb', 'show'];
  const parts = await Promise.all([
    ip<Link[]>('-details', 'address', 'show').then(linkFacts),
    ip<Neighbour[]>('neighbour', 'show', 'nud', 'permanent').then(neighbourFacts),
    json<ForwardingEntry[]>('bridge', bridge).then(forwardingFacts),
    ip<Rule[]>('rule', 'show').then(ruleFacts),
    ip<Route[]>('route', 'show', 'table', 'all').then(routeFacts),
    nftFacts(netns),
    ...tasks.map(insideFacts),
  ]);
  return new Set(parts.flat());
}

async function json<T>(file: string, args: readonly string[]): Promise<T> {
  const text = await command(file, args);
  return (text.trim() === '' ? [] : JSON.parse(text)) as T;
}

interface Link {
  ifname: string;
  address: string;
  master?: string;
  flags: string[];
  linkinfo?: { info_kind?: string; info_data?: { id?: number } };
  addr_info: { family: string; local: string; prefixlen: number }[];
}

function linkFacts(links: readonly Link[]): string[] {
  const ports = new Map<string, number>();
  for (const link of links.filter(isContainerPort)) {
    ports.set(link.master ?? '', (ports.get(link.master ?? '') ?? 0) + 1);
  }
  const counts = [...ports].map(([name, count]) => `ports ${name} ${count} of containers`);
  return [...links.filter((l) => !isContainerPort(l)).flatMap(ownLinkFacts), ...counts];
}

function isContainerPort({ ifname, linkinfo, flags }: Link): boolean {
  return linkinfo?.info_kind === 'veth' && ifname !== 'eth0' && flags.includes('UP');
}

function ownLinkFacts({ ifname, address, master, flags, linkinfo, addr_info }: Link): string[] {
  const state = flags.includes('UP') ? 'up' : 'down';
  if (/^hv/.test(ifname)) {
    const vni = linkinfo?.info_data?.id ?? 0;
    return [`link ${ifname} vni ${vni} port of ${master ?? 'nothing'} ${state}`];
  }
  if (/^hb/.test(ifname)) {
    const own = addr_info.filter((a) => a.family === 'inet');
    const addresses = own.map((a) => `address ${ifname} ${a.local}/${a.prefixlen}`);
    return [`link ${ifname} ${address} ${state}`, ...addresses];
  }
  // hl…: bridges of containers of this node alone, which the store does not know
  return /^(lo|eth0|hl.*)$/.test(ifname) ? [] : [`stray link ${ifname}`];
}

interface Neighbour {
  dst: string;
  dev: string;
  lladdr?: string;
}

function neighbourFacts(neighbours: readonly Neighbour[]): string[] {
  return neighbours
    .filter(({ dev, dst }) => /^hb/.test(dev) && !dst.includes(':'))
    .map(({ dst, dev, lladdr }) => `neighbour ${dev} ${dst} ${lladdr ?? ''}`);
}

interface ForwardingEntry {
  mac: string;
  ifname: string;
  master?: string;
  dst?: string;
  state?: string;
}

function forwardingFacts(entries: readonly ForwardingEntry[]): string[] {
  return (
    entries
      // the device's own address is "permanent" and leads nowhere
      .filter(({ ifname, state, dst }) => /^hv/.test(ifname) && (state !== 'permanent' || dst))
      .map(({ mac, ifname, master, dst }) =>
        master === undefined
          ? `fdb ${ifname} ${mac} at ${dst ?? 'nowhere'}`
          : `fdb ${ifname} ${mac} behind the bridge's port`,
      )
  );
}

interface Rule {
  fwmark?: string;
  iif?: string;
  table: string;
}

function ruleFacts(rules: readonly Rule[]): string[] {
  return rules
    .filter(({ table }) => !['local', 'main', 'default'].includes(table))
    .map(({ iif = 'anywhere', fwmark, table }) => {
      const mark = Number.parseInt(fwmark ?? '0', 16);
      return `rule from ${iif} mark ${mark} to table ${table}`;
    });
}

interface Route {
  dst: string;
  gateway?: string;
  dev?: string;
  table?: string;
}

function routeFacts(routes: readonly Route[]): string[] {
  return routes
    .filter(({ table = 'main' }) => !['local', 'main', 'default'].includes(table))
    .map(
      ({ dst, gateway, dev, table }) =>
        `route table ${table} ${dst} via ${gateway ?? 'nobody'} on ${dev ?? 'nothing'}`,
    );
}

/** The links in a task's container, where they are its own. */
async function insideFacts(task: Task): Promise<string[]> {
  const { pid } = task.status.containerStatus;
  const hasOwn = task.networksAttachments.some(({ addresses }) => addresses.length > 0);
  if (pid === 0 || !hasOwn) return [];
  const args = [`--net=/proc/${pid}/ns/net`, 'ip', '-json', 'address', 'show'];
  try {
    const links = await json<Link[]>('nsenter', args);
    return links
      .filter(({ ifname }) => ifname !== 'lo')
      .flatMap(({ address, addr_info }) =>
        addr_info
          .filter((a) => a.family === 'inet')
          .map((a) => `inside ${taskName(task)}: ${a.local}/${a.prefixlen} ${address}`),
      );
  } catch {
    return []; // it has ended meanwhile
  }
}
