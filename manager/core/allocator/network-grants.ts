import type { Network } from '../../../common/model/objects.js';
import type { IPAMConfig } from '../../../proto/gen/hatoba/v1/types.js';
import {
  cidrFrom,
  firstAddress,
  formatCidr,
  nextSubnet,
  parseCidr,
  subnetOverlaps,
  type Cidr,
} from '../../../overlay-net/core/ipam.js';
import { DEFAULT_ADDRESS_POOLS, DEFAULT_SUBNET_SIZE } from '../network/address-pools.js';
import { nodeLabel } from '../node-label.js';
import type { Change, Snapshot } from '../snapshot.js';
import { Problems, type Problem } from '../validate/problem.js';

/** VXLAN network identifiers: 24 bits, the small ones left to people. */
export const VNIS = { first: 4096, last: 2 ** 24 - 1 } as const;

/** Every published task of the cluster is on the ingress network, so it gets 65,533 addresses. */
const INGRESS_SUBNET_SIZE = 16;
/** But no more than a quarter of a pool, or a small one would have nothing left for others. */
const INGRESS_SHARE_BITS = 2;

interface Taken {
  readonly subnet: Cidr;
  /** For people: "network web", "a route of node n1". */
  readonly by: string;
  readonly isRoute: boolean;
}

/**
 * Gives networks what no two of them may share: subnets, which also keep clear of where the nodes'
 * own routes lead, and the numbers of their tunnels. What was granted counts for the next network.
 */
export class NetworkGrants {
  readonly #pools: readonly Cidr[];
  readonly #size: number;
  readonly #taken: Taken[];
  readonly #vnis = new Map<number, string>();

  constructor(snapshot: Snapshot) {
    const spec = snapshot.cluster()?.spec;
    const pools = spec?.defaultAddressPools ?? [];
    this.#pools = (pools.length === 0 ? DEFAULT_ADDRESS_POOLS : pools).map(parseCidr);
    this.#size = spec?.subnetSize || DEFAULT_SUBNET_SIZE;
    this.#taken = takenSubnets(snapshot);
    for (const {
      vni,
      spec: { name },
    } of snapshot.networks())
      this.#vnis.set(vni, name);
  }

  /** The network with subnets and number, or why it cannot have them. */
  grant(network: Network): { network: Network } | { problems: Problem[] } {
    const problems = new Problems();
    const { spec } = network;
    const asked = spec.ipam.filter(({ subnet }) => subnet !== '');
    const ipam = asked.length > 0 ? this.#asAsked(asked, problems) : this.#cut(network, problems);
    const vni = spec.driver === 'overlay' ? this.#vniFor(spec.vni, problems.at('vni')) : 0;
    if (problems.list.length > 0) return { problems: problems.list };
    const granted = { ...network, ipam, vni };
    this.#note(granted);
    return { network: granted };
  }

  #note({ ipam, vni, spec }: Network): void {
    for (const { subnet } of ipam) this.#taken.push(takenBy(spec.name, subnet));
    if (vni !== 0) this.#vnis.set(vni, spec.name);
  }

  #asAsked(asked: readonly IPAMConfig[], problems: Problems): IPAMConfig[] {
    return asked.map((ipam, i) => {
      const subnet = parseCidr(ipam.subnet);
      const at = problems.at(`ipam[${i}].subnet`);
      for (const other of this.#taken.filter((t) => subnetOverlaps(t.subnet, subnet))) {
        at.add(
          `${ipam.subnet} overlaps ${formatCidr(other.subnet)} of ${other.by}: choose another ` +
            'subnet, or leave it out to have a free one chosen',
          other.isRoute ? 'failed-precondition' : 'already-exists',
        );
      }
      return { ...ipam, gateway: ipam.gateway || firstAddress(subnet) };
    });
  }

  #cut({ spec }: Network, problems: Problems): IPAMConfig[] {
    const used = this.#taken.map((t) => t.subnet);
    const large = spec.ingress ? this.#ingressSubnet(used) : undefined;
    const subnet = large ?? nextSubnet(this.#pools, this.#size, used);
    if (subnet === undefined) {
      problems.at('ipam').add(this.#exhausted(), 'resource-exhausted');
      return [];
    }
    return [{ subnet: formatCidr(subnet), gateway: firstAddress(subnet), ipRange: '' }];
  }

  /** The largest subnet that the pools can spare, up to a /16 and above the size of others. */
  #ingressSubnet(used: readonly Cidr[]): Cidr | undefined {
    for (let prefix = INGRESS_SUBNET_SIZE; prefix < this.#size; prefix++) {
      const sparing = this.#pools.filter((p) => p.prefixLength + INGRESS_SHARE_BITS <= prefix);
      const subnet = nextSubnet(sparing, prefix, used);
      if (subnet !== undefined) return subnet;
    }
    return undefined;
  }

  #exhausted(): string {
    const inPools = this.#taken.filter((t) => this.#pools.some((p) => subnetOverlaps(p, t.subnet)));
    const routes = inPools.filter((t) => t.isRoute).length;
    const total = this.#pools
      .map((pool) => 2 ** Math.max(0, this.#size - pool.prefixLength))
      .reduce((a, b) => a + b, 0);
    const pools = this.#pools.map(formatCidr).join(', ');
    const kept = routes === 0 ? '' : `, ${routes} kept clear of for routes of the nodes`;
    return (
      `no /${this.#size} is left in the address pools ${pools} (room for ${total}: ` +
      `${inPools.length - routes} used by networks${kept}, 0 free): remove networks that are not ` +
      'needed, or name a subnet elsewhere'
    );
  }

  #vniFor(asked: number, problems: Problems): number {
    if (asked === 0) {
      const vni = nextVni(this.#vnis);
      if (vni !== undefined) return vni;
      problems.add('no network identifier (VNI) is left', 'resource-exhausted');
      return 0;
    }
    const holder = this.#vnis.get(asked);
    if (holder !== undefined)
      problems.add(`VNI ${asked} is that of network ${holder}`, 'already-exists');
    return asked;
  }
}

/**
 * What makes two grants at one time impossible: each is written together with the cluster object,
 * of which only one writer can replace the version that both have seen.
 */
export function grantGuard(snapshot: Snapshot): Change[] {
  const object = snapshot.cluster();
  return object === undefined ? [] : [{ action: 'update', kind: 'cluster', object }];
}

function takenSubnets(snapshot: Snapshot): Taken[] {
  const networks = [...snapshot.networks()].flatMap(({ ipam, spec }) =>
    ipam.map(({ subnet }) => takenBy(spec.name, subnet)),
  );
  const routes = [...snapshot.nodes()].flatMap((node) =>
    node.description.hostSubnets.flatMap((text) => {
      const subnet = cidrFrom(text); // what a node tells must not keep the cluster from going on
      const by = `a route of node ${nodeLabel(node)}`;
      return subnet === undefined ? [] : { subnet, by, isRoute: true };
    }),
  );
  return [...networks, ...routes];
}

function takenBy(network: string, subnet: string): Taken {
  return { subnet: parseCidr(subnet), by: `network ${network}`, isRoute: false };
}

/** After the highest in use, so that a number just released rests; then the lowest free one. */
function nextVni(used: ReadonlyMap<number, string>): number | undefined {
  let highest = VNIS.first - 1;
  for (const vni of used.keys()) highest = Math.max(highest, vni);
  if (highest < VNIS.last) return highest + 1;
  for (let vni: number = VNIS.first; vni <= VNIS.last; vni++) if (!used.has(vni)) return vni;
  return undefined;
}
