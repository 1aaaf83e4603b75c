import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { HatobaError } from '../../common/errors.js';
import type { Namespaces } from '../../linux/ports.js';

const BRIDGE_NETFILTER = '/proc/sys/net/bridge/bridge-nf-call-iptables';
const IPV6 = '/proc/sys/net/ipv6';
const ALL_RP_FILTER = '/proc/sys/net/ipv4/conf/all/rp_filter';
const STRICT = '1';
const LOOSE = '2';
const OFF = '0';

/** Packets are forwarded, and bridged ones shown to nftables. */
export const HOST_SYSCTLS: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '1',
  'net.bridge.bridge-nf-call-iptables': '1',
};

/**
 * Makes this network namespace forward packets, and show bridged ones to nftables.
 * @throws {HatobaError} failed-precondition when the kernel has no bridge netfilter
 */
export async function prepareHost(namespaces: Namespaces): Promise<void> {
  if (!existsSync(BRIDGE_NETFILTER)) await loadBridgeNetfilter();
  await namespaces.setSysctls(HOST_SYSCTLS);
}

async function loadBridgeNetfilter(): Promise<void> {
  let cause: unknown;
  try {
    await promisify(execFile)('modprobe', ['br_netfilter'], { timeout: 10_000 });
  } catch (error) {
    cause = error;
  }
  if (existsSync(BRIDGE_NETFILTER)) return;
  throw new HatobaError(
    'failed-precondition',
    'this kernel has no bridge netfilter, which service addresses need: load the module br_netfilter',
    { cause },
  );
}

/**
 * The settings of a new bridge: answers to clients far away come from addresses that no route
 * leads to (no reverse path filter), clients on this host may come from 127.0.0.1, and a gateway
 * that takes the place of another in its subnet does not go with that one.
 */
export function bridgeSysctls(bridge: string): Record<string, string> {
  // the filter of "all" cannot be undercut (the larger one counts), but loose is larger than strict
  const all = readFileSync(ALL_RP_FILTER, 'utf8').trim();
  return {
    [`net/ipv4/conf/${bridge}/rp_filter`]: all === STRICT ? LOOSE : OFF,
    [`net/ipv4/conf/${bridge}/route_localnet`]: '1',
    [`net/ipv4/conf/${bridge}/promote_secondaries`]: '1',
    ...withoutIpv6(bridge),
  };
}

/** A link that sends nothing of IPv6 by itself. */
export function withoutIpv6(link: string): Record<string, string> {
  return existsSync(IPV6) ? { [`net/ipv6/conf/${link}/disable_ipv6`]: '1' } : {};
}

/** The settings of a new sandbox: any user may bind any port there, and its links have no IPv6. */
export function sandboxSysctls(): Record<string, string> {
  return {
    'net.ipv4.ip_unprivileged_port_start': '0',
    ...withoutIpv6('default'),
  };
}
