import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../../deploy/dev/command.js';
import { placesOf } from '../../deploy/dev/layout.js';
import { unary } from '../../proto/wire/client.js';
import { openControl } from '../support/network-checker/cluster-objects.js';
import { nftElements } from '../support/network-checker/nft-facts.js';

/** What services and networks leave in the store and on the hosts while they are there. */
export interface Traces {
  services: string[];
  tasks: string[];
  networks: string[];
  /** Addresses that are taken, by network. */
  usedAddresses: Record<string, number>;
  hosts: Record<string, HostTraces>;
}

interface HostTraces {
  links: string[];
  addresses: string[];
  routes: string[];
  neighbours: string[];
  forwarding: string[];
  nftElements: string[];
  namespaces: string[];
}

export async function networkTraces(hosts: readonly string[]): Promise<Traces> {
  const control = openControl();
  try {
    const { services } = await unary(control.listServices.bind(control), { stack: '' });
    const all = { service: '', stack: '', node: '', history: true };
    const { tasks } = await unary(control.listTasks.bind(control), all);
    const { networks } = await unary(control.listNetworks.bind(control), {});
    const usedAddresses: Record<string, number> = {};
    for (const { id, spec } of networks) {
      const { subnets } = await unary(control.inspectNetwork.bind(control), { network: id });
      usedAddresses[spec?.name ?? ''] = subnets.reduce((sum, { used }) => sum + used, 0);
    }
    const ofHosts = await Promise.all(hosts.map(async (host) => [host, await hostTraces(host)]));
    return {
      services: services.map((s) => s.id),
      tasks: tasks.map((t) => t.id),
      networks: networks.map((n) => n.id).sort(),
      usedAddresses,
      hosts: Object.fromEntries(ofHosts) as Record<string, HostTraces>,
    };
  } finally {
    control.close();
  }
}

async function hostTraces(host: string): Promise<HostTraces> {
  const { netns, runDir } = placesOf({ name: host });
  const ip = (...args: string[]): Promise<string[]> => lines('ip', '-netns', netns, ...args);
  return {
    links: (await ip('-brief', 'link')).map(firstWord),
    addresses: await ip('-brief', '-4', 'address'),
    routes: await ip('-4', 'route', 'show', 'table', 'all'),
    neighbours: await ip('-4', 'neighbour', 'show', 'nud', 'permanent'),
    forwarding: await lines('bridge', '-netns', netns, 'fdb', 'show'),
    nftElements: (await nftElements(netns)).sort(),
    namespaces: readdirSync(join(runDir, 'netns')).sort(),
  };
}

async function lines(file: string, ...args: string[]): Promise<string[]> {
  const text = await command(file, args);
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .sort();
}

function firstWord(line: string): string {
  return line.split(/[\s@]/)[0] ?? '';
}
