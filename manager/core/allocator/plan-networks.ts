import type { Network } from '../../../common/model/objects.js';
import type { Change, Snapshot } from '../snapshot.js';
import {
  firstAddress,
  formatCidr,
  nextSubnet,
  parseCidr,
  subnetOverlaps,
  type Cidr,
} from '../../../overlay-net/core/ipam.js';

/** VXLAN network identifiers: 24 bits, the small ones left to people. */
export const VNIS = { first: 4096, last: 2 ** 24 - 1 } as const;

const DEFAULT_POOLS = ['10.128.0.0/9'];
const DEFAULT_SUBNET_SIZE = 24;
/** Every published task of the cluster is on the ingress network, so it gets 65,533 addresses. */
const INGRESS_SUBNET_SIZE = 16;
/** But no more than a quarter of a pool, or a small one would have nothing left for others. */
const INGRESS_SHARE_BITS = 2;

interface NetworkPlan {
  changes: Change[];
  /** Network id → why it has no subnet. */
  problems: ReadonlyMap<string, string>;
}

/** The overlay networks without a subnet get one, and an identifier for their tunnels. */
export function planNetworks(snapshot: Snapshot): NetworkPlan {
  const networks = [...snapshot.networks()].sort(
    (a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1),
  );
  const taken = networks.flatMap((n) => {
    return n.ipam.map((i) => ({ subnet: parseCidr(i.subnet), name: n.spec.name }));
  });
  const vnis = new Set(networks.map((n) => n.vni));
  const changes: Change[] = [];
  const problems = new Map<string, string>();
  for (const network of networks) {
    if (network.ipam.length > 0 || network.spec.driver !== 'overlay') continue;
    const found = subnetFor(snapshot, network, taken);
    const vni = nextVni(vnis);
    if (typeof found === 'string' || vni === undefined) {
      const why = typeof found === 'string' ? found : 'no network identifier (VNI) is left';
      problems.set(network.id, `network ${network.spec.name} has no subnet: ${why}`);
      continue;
    }
    vnis.add(vni);
    taken.push({ subnet: found, name: network.spec.name });
    const ipam = {
      subnet: formatCidr(found),
      gateway: network.spec.ipam[0]?.gateway || firstAddress(found),
      ipRange: network.spec.ipam[0]?.ipRange ?? '',
    };
    changes.push({ action: 'update', kind: 'network', object: { ...network, ipam: [ipam], vni } });
  }
  return { changes, problems };
}

/** The subnet asked for, or one cut from the cluster's pools; else why there is none. */
function subnetFor(
  snapshot: Snapshot,
  network: Network,
  taken: readonly { subnet: Cidr; name: string }[],
): Cidr | string {
  const asked = network.spec.ipam[0]?.subnet ?? '';
  if (asked !== '') {
    const subnet = parseCidr(asked);
    const other = taken.find((t) => subnetOverlaps(t.subnet, subnet));
    return other === undefined ? subnet : `${asked} overlaps the subnet of network ${other.name}`;
  }
  const spec = snapshot.cluster()?.spec;
  const ofCluster = spec?.defaultAddressPools ?? [];
  const from = ofCluster.length === 0 ? DEFAULT_POOLS : ofCluster;
  const size = spec?.subnetSize || DEFAULT_SUBNET_SIZE;
  const used = taken.map((t) => t.subnet);
  const pools = from.map(parseCidr);
  const large = network.spec.ingress ? ingressSubnet(pools, size, used) : undefined;
  return (
    large ??
    nextSubnet(pools, size, used) ??
    `no /${size} is left in the address pools ${from.join(', ')} (subnets in use: ${used.length})`
  );
}

/** The largest subnet that the pools can spare, up to a /16 and above the `size` of others. */
function ingressSubnet(
  pools: readonly Cidr[],
  size: number,
  used: readonly Cidr[],
): Cidr | undefined {
  for (let prefix = INGRESS_SUBNET_SIZE; prefix < size; prefix++) {
    const sparing = pools.filter((p) => p.prefixLength + INGRESS_SHARE_BITS <= prefix);
    const subnet = nextSubnet(sparing, prefix, used);
    if (subnet !== undefined) return subnet;
  }
  return undefined;
}

/** After the highest in use, so that a number just released rests; then the lowest free one. */
function nextVni(used: ReadonlySet<number>): number | undefined {
  const after = Math.max(VNIS.first - 1, ...used) + 1;
  if (after <= VNIS.last) return after;
  for (let vni: number = VNIS.first; vni <= VNIS.last; vni++) if (!used.has(vni)) return vni;
  return undefined;
}
