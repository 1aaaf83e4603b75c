import type { BridgePort } from '../../linux/ports.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { SandboxConfig } from './network-state.js';
import { bridgeOf, networkMtu, type Underlay } from './link-plan.js';
import { endpointMac } from './mac.js';
import { firstSubnet, subnetAround } from './subnets.js';
import { addressOf } from './ipam.js';

/** What a sandbox must have. */
export interface SandboxPlan {
  /** In the order of the attachments. */
  links: readonly PlannedSandboxLink[];
  /** Gateways, at which DNS answers. */
  nameservers: readonly string[];
  /** The sandbox's address on the network of its default route; empty without one. */
  defaultAddress: string;
}

/** A veth between a bridge and a sandbox. */
export interface PlannedSandboxLink {
  /** Its end on the host, and in the sandbox: "eth0" … */
  hostLink: string;
  name: string;
  bridge: string;
  port: BridgePort;
  mtuBytes: number;
  mac: string;
  cidr: string;
  /** Beside that to the address's own subnet. */
  routes: readonly { destination: string; via: string }[];
}

/** One link of a sandbox: its network and its end on the host. */
export interface SandboxLink {
  network: NetworkConfig;
  hostLink: string;
}

/** The host's end of a sandbox's link, a port of its network's bridge. */
export interface SandboxPort {
  hostLink: string;
  networkId: string;
  /** Without prefix length. */
  address: string;
  mac: string;
}

const PORT: BridgePort = {
  learning: true,
  flood: true,
  mcastFlood: true,
  bcastFlood: true,
  neighSuppress: false,
  // the bridge would send no unknown frames to a port that has it
  proxyArp: false,
  // a task that reaches itself by its virtual address gets the frame back at the port it sent it
  hairpin: true,
  isolated: false,
};

/**
 * The links of a sandbox.
 * @param links in the order of the attachments
 */
export function planSandbox(
  config: SandboxConfig,
  links: readonly SandboxLink[],
  underlay: Underlay,
): SandboxPlan {
  const main = defaultNetwork(links.map((l) => l.network));
  const planned = links.map((link, i) =>
    planLink(
      link,
      `eth${i}`,
      config.attachments[i]?.address ?? '',
      underlay,
      link.network === main,
    ),
  );
  const nameservers = links.map(({ network }, i) => gatewayFor(network, planned[i]?.cidr ?? ''));
  const at = links.findIndex(({ network }) => network === main);
  return {
    links: planned,
    nameservers: [...new Set(nameservers)],
    defaultAddress: main === undefined ? '' : addressOf(planned[at]?.cidr ?? ''),
  };
}

function planLink(
  { network, hostLink }: SandboxLink,
  name: string,
  cidr: string,
  underlay: Underlay,
  isDefault: boolean,
): PlannedSandboxLink {
  const via = gatewayFor(network, cidr);
  // where another network has the default route, the other subnets of this one need routes too
  const others = network.subnets.filter(({ gateway }) => gateway !== via).map((s) => s.subnet);
  return {
    hostLink,
    name,
    bridge: bridgeOf(network),
    port: PORT,
    mtuBytes: networkMtu(network, underlay),
    mac: endpointMac(addressOf(cidr)),
    cidr,
    routes: [...others, ...(isDefault ? ['default'] : [])].map((to) => ({ destination: to, via })),
  };
}

function gatewayFor(network: NetworkConfig, cidr: string): string {
  return (subnetAround(network, addressOf(cidr)) ?? firstSubnet(network)).gateway;
}

/**
 * The ingress network, as answers to clients outside must go back the way they came; else the first
 * one with a way out.
 */
function defaultNetwork(networks: readonly NetworkConfig[]): NetworkConfig | undefined {
  return networks.find((n) => n.ingress) ?? networks.find((n) => !n.internal);
}
