import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { errnoOf, HatobaError } from '../../common/errors.js';
import { command, commandUnless } from './command.js';
import {
  MACHINE_ADDRESS,
  MACHINE_LINK,
  NAT_TABLE,
  UNDERLAY_BRIDGE,
  UNDERLAY_NETNS,
  UNDERLAY_PREFIX,
  UNDERLAY_SUBNET,
  cardOf,
  placesOf,
  type Host,
} from './layout.js';

const EXISTS = /File exists/;
const GONE = /No such file|Cannot find device|does not exist|No such process/;
const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward';

/**
 * Makes the namespace, bridge and machine link that join the hosts; what stands already is kept.
 * @returns whether forwarding had to be switched on for the machine
 */
export async function setUpUnderlay(): Promise<{ switchedForwarding: boolean }> {
  await checkSubnetIsFree();
  await addNetns(UNDERLAY_NETNS);
  await commandUnless(
    EXISTS,
    'ip',
    inUnderlay('link', 'add', 'name', UNDERLAY_BRIDGE, 'type', 'bridge'),
  );
  await command('ip', inUnderlay('link', 'set', 'lo', 'up'));
  await command('ip', inUnderlay('link', 'set', UNDERLAY_BRIDGE, 'up'));
  if (!existsSync(`/sys/class/net/${MACHINE_LINK}`)) {
    const peer = ['peer', 'name', 'machine', 'netns', UNDERLAY_NETNS];
    await command('ip', ['link', 'add', 'name', MACHINE_LINK, 'type', 'veth', ...peer]);
  }
  await command('ip', inUnderlay('link', 'set', 'machine', 'master', UNDERLAY_BRIDGE, 'up'));
  const own = `${MACHINE_ADDRESS}/${UNDERLAY_PREFIX}`;
  await commandUnless(/File exists|already assigned/, 'ip', [
    'address',
    'add',
    own,
    'dev',
    MACHINE_LINK,
  ]);
  await command('ip', ['link', 'set', MACHINE_LINK, 'up']);
  await command('nft', [
    `add table ip ${NAT_TABLE}; flush table ip ${NAT_TABLE}; ` +
      `add chain ip ${NAT_TABLE} postrouting { type nat hook postrouting priority srcnat; }; ` +
      `add rule ip ${NAT_TABLE} postrouting ip saddr ${UNDERLAY_SUBNET} oifname != "${MACHINE_LINK}" masquerade`,
  ]);
  const switchedForwarding = (await readFile(IP_FORWARD, 'utf8')).trim() === '0';
  if (switchedForwarding) await writeFile(IP_FORWARD, '1');
  return { switchedForwarding };
}

/** Takes away what setUpUnderlay made. */
export async function tearDownUnderlay(options: { switchedForwarding: boolean }): Promise<void> {
  await commandUnless(GONE, 'ip', ['link', 'delete', MACHINE_LINK]);
  await commandUnless(GONE, 'ip', ['netns', 'delete', UNDERLAY_NETNS]);
  await commandUnless(GONE, 'nft', ['delete', 'table', 'ip', NAT_TABLE]);
  if (options.switchedForwarding) await writeFile(IP_FORWARD, '0');
}

/** Makes a host's namespace and its link to the underlay; what stands already is kept. */
export async function plugIn(host: Host): Promise<void> {
  const { netns, link } = placesOf(host);
  await addNetns(netns);
  const inHost = (...args: string[]): string[] => ['-netns', netns, ...args];
  if (!(await hasLink(netns, 'eth0'))) {
    const peer = ['peer', 'name', 'eth0', 'address', cardOf(host), 'netns', netns];
    await command('ip', inUnderlay('link', 'add', 'name', link, 'type', 'veth', ...peer));
  }
  await command('ip', inUnderlay('link', 'set', link, 'master', UNDERLAY_BRIDGE, 'up'));
  await command('ip', inHost('link', 'set', 'lo', 'up'));
  const own = `${host.address}/${UNDERLAY_PREFIX}`;
  await commandUnless(
    /File exists|already assigned/,
    'ip',
    inHost('address', 'add', own, 'dev', 'eth0'),
  );
  await command('ip', inHost('link', 'set', 'eth0', 'up'));
  await command('ip', inHost('route', 'replace', 'default', 'via', MACHINE_ADDRESS));
}

/** Removes a host's namespace with all its links. */
export async function unplug(host: Pick<Host, 'name'>): Promise<void> {
  // by name and at once: links that go with their namespace linger while the kernel cleans up
  await commandUnless(GONE, 'ip', inUnderlay('link', 'delete', placesOf(host).link));
  await commandUnless(GONE, 'ip', ['netns', 'delete', placesOf(host).netns]);
}

/** Cuts or mends a host's link to the others: a partition. */
export async function setLink(host: Pick<Host, 'name'>, isUp: boolean): Promise<void> {
  await command('ip', inUnderlay('link', 'set', placesOf(host).link, isUp ? 'up' : 'down'));
}

export function isPluggedIn(host: Pick<Host, 'name'>): boolean {
  return existsSync(placesOf(host).netnsPath);
}

function inUnderlay(...args: string[]): string[] {
  return ['-netns', UNDERLAY_NETNS, ...args];
}

async function addNetns(name: string): Promise<void> {
  await commandUnless(EXISTS, 'ip', ['netns', 'add', name]);
}

async function hasLink(netns: string, link: string): Promise<boolean> {
  const links = JSON.parse(await command('ip', ['-netns', netns, '-json', 'link', 'show'])) as {
    ifname: string;
  }[];
  return links.some((l) => l.ifname === link);
}

async function checkSubnetIsFree(): Promise<void> {
  const routes = JSON.parse(await command('ip', ['-json', 'route', 'show', UNDERLAY_SUBNET])) as {
    dev?: string;
  }[];
  const other = routes.find((r) => r.dev !== MACHINE_LINK);
  if (other !== undefined) {
    throw new HatobaError(
      'failed-precondition',
      `${UNDERLAY_SUBNET}, the network of the development hosts, is already routed to ${other.dev ?? 'elsewhere'} on this machine`,
    );
  }
}

/** Whether the bridge module of the kernel is there: said before anything is made. */
export async function checkKernel(): Promise<void> {
  try {
    await readFile('/proc/sys/net/bridge/bridge-nf-call-iptables');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    await commandUnless(/./, 'modprobe', ['br_netfilter']);
  }
}
