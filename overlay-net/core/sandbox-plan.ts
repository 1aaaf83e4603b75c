import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { NetlinkOp } from '../../linux/ports.js';
import type { SandboxConfig } from './network-state.js';
import { bridgeOf, networkMtu, type Underlay } from './link-plan.js';
import { endpointMac } from './mac.js';
import { firstSubnet, subnetAround } from './subnets.js';

export interface SandboxPlan {
  /** Operations in the host's namespace, then those in the sandbox's. */
  host: NetlinkOp[];
  inside: NetlinkOp[];
  /** Gateways, at which DNS answers. */
  nameservers: string[];
  /** The sandbox's address on the network of its default route; empty without one. */
  defaultAddress: string;
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

/**
 * What makes the links of a sandbox in its new namespace.
 * @param links in the order of the attachments
 */
export function planSandbox(
  config: SandboxConfig,
  netnsPath: string,
  links: readonly SandboxLink[],
  underlay: Underlay,
): SandboxPlan {
  const plan: SandboxPlan = { host: [], inside: [], nameservers: [], defaultAddress: '' };
  const gateway = defaultNetwork(links.map((l) => l.network));
  for (const [i, { network, hostLink }] of links.entries()) {
    const cidr = config.attachments[i]?.address ?? '';
    const address = cidr.split('/')[0] ?? '';
    const name = `eth${i}`;
    const mtuBytes = networkMtu(network, underlay);
    const peer = { name, netns: netnsPath, mac: endpointMac(address) };
    plan.host.push(
      { op: 'link-add', kind: 'veth', name: hostLink, mtuBytes, peer },
      { op: 'link-set', name: hostLink, master: bridgeOf(network), up: true },
      // a task that reaches itself by its virtual address gets the frame back at the port it sent it
      { op: 'bridge-port', name: hostLink, hairpin: true },
    );
    plan.inside.push(
      { op: 'link-set', name, mtuBytes, up: true },
      { op: 'address-add', link: name, cidr },
    );
    const { gateway: via } = subnetAround(network, address) ?? firstSubnet(network);
    if (!plan.nameservers.includes(via)) plan.nameservers.push(via);
    if (network !== gateway) continue;
    plan.defaultAddress = address;
    plan.inside.push({ op: 'route-add', destination: 'default', via, link: name });
  }
  return plan;
}

/**
 * The ingress network, as answers to clients outside must go back the way they came; else the first
 * one with a way out.
 */
function defaultNetwork(networks: readonly NetworkConfig[]): NetworkConfig | undefined {
  return networks.find((n) => n.ingress) ?? networks.find((n) => !n.internal);
}
