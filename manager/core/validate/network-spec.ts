import {
  cidrFrom,
  firstAddress,
  formatCidr,
  isAddress,
  parseCidr,
  poolUsage,
  subnetOverlaps,
  type Cidr,
} from '../../../overlay-net/core/ipam.js';
import type { IPAMConfig, NetworkSpec } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../snapshot.js';
import { Problems, type Problem } from './problem.js';

const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
/** Smaller ones have no room for a gateway, a service address and tasks. */
const LONGEST_PREFIX = 29;
const SHORTEST_PREFIX = 8;
const MAX_SUBNETS = 64;
const MAX_VNI = 2 ** 24 - 1;
const RESERVED = new Set(['host', 'none', 'bridge']);
const DRIVERS: ReadonlySet<string> = new Set(['overlay', 'bridge']);
/** As Docker names them. */
const VNI_OPTION = 'com.docker.network.driver.overlay.vxlanid_list';
const MTU_OPTION = 'com.docker.network.driver.mtu';
/** Where no container can be: "this network", loopback, link-local, multicast and beyond. */
const SPECIAL = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(parseCidr);

/** The spec with defaults where it says nothing, and with what it says in Docker's options. */
export function networkWithDefaults(spec: NetworkSpec): NetworkSpec {
  return {
    ...spec,
    driver: spec.driver === '' ? 'overlay' : spec.driver,
    vni: spec.vni || (numberOption(spec, VNI_OPTION) ?? 0),
    mtuBytes: spec.mtuBytes || (numberOption(spec, MTU_OPTION) ?? 0),
  };
}

/** Undefined when it is not there, or is no number. */
function numberOption({ options }: NetworkSpec, name: string): number | undefined {
  const text = options[name] ?? '';
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/**
 * Every mistake in the spec of a network that is to be created, but for what others have already:
 * see NetworkGrants.
 */
export function validateNetworkSpec(spec: NetworkSpec, snapshot: Snapshot): Problem[] {
  const problems = new Problems();
  checkName(spec, snapshot, problems.at('name'));
  if (!DRIVERS.has(spec.driver)) {
    const isPredefined = spec.driver === 'host' || spec.driver === 'none';
    problems
      .at('driver')
      .add(
        isPredefined
          ? `every cluster has one network of driver ${spec.driver}, named ${spec.driver}: use that`
          : `driver "${spec.driver}" is not offered: use overlay or bridge`,
        isPredefined ? 'invalid-argument' : 'unimplemented',
      );
  }
  checkIngress(spec, snapshot, problems.at('ingress'));
  checkNumbers(spec, problems);
  const at = problems.at('ipam');
  at.require(
    spec.ipam.length <= MAX_SUBNETS,
    `${spec.ipam.length} subnets: at most ${MAX_SUBNETS}`,
  );
  spec.ipam.forEach((ipam, i) => {
    checkIpam(ipam, spec.ipam.length === 1, problems.at(`ipam[${i}]`));
    checkApart(spec.ipam, i, problems.at(`ipam[${i}].subnet`));
  });
  return problems.list;
}

function checkName({ name }: NetworkSpec, snapshot: Snapshot, problems: Problems): void {
  problems.require(
    NETWORK_NAME.test(name) && !RESERVED.has(name),
    `"${name}" is not a valid name: letters, digits, "-", "_" and ".", at most 128 ` +
      'characters, none of host, none, bridge',
  );
  const namesake = [...snapshot.networks()].find((n) => n.spec.name === name);
  if (namesake === undefined || RESERVED.has(name)) return;
  const what = namesake.pendingDelete ? 'is still being removed' : 'exists already';
  problems.add(`network ${name} ${what}`, 'already-exists');
}

function checkIngress(spec: NetworkSpec, snapshot: Snapshot, problems: Problems): void {
  if (!spec.ingress) return;
  problems.require(spec.driver === 'overlay', 'the ingress network is an overlay network');
  const ingress = [...snapshot.networks()].find((n) => n.spec.ingress);
  if (ingress === undefined) return;
  problems.add(`${ingress.spec.name} is the ingress network already`, 'already-exists');
}

function checkNumbers(spec: NetworkSpec, problems: Problems): void {
  const { mtuBytes, vni, driver, options } = spec;
  problems
    .at('mtuBytes')
    .require(
      mtuBytes === 0 || (mtuBytes >= 576 && mtuBytes <= 65_535),
      `${mtuBytes} is not between 576 and 65535`,
    );
  const at = problems.at('vni');
  at.require(vni >= 0 && vni <= MAX_VNI, `${vni} is not between 1 and ${MAX_VNI}`);
  at.require(vni === 0 || driver === 'overlay', `a network of driver ${driver} has no VNI`);
  for (const [name, value] of [[VNI_OPTION, vni] as const, [MTU_OPTION, mtuBytes] as const]) {
    const text = options[name];
    if (text === undefined) continue;
    problems
      .at(`options[${name}]`)
      .require(
        numberOption(spec, name) === value && value > 0,
        `"${text}" is not one number above 0, or not the one that is named elsewhere`,
      );
  }
}

function checkIpam(ipam: IPAMConfig, isOnly: boolean, problems: Problems): void {
  if (ipam.subnet === '') {
    problems.require(
      ipam.gateway === '' && ipam.ipRange === '' && isOnly,
      'a gateway, a range and each of several subnets need the subnet itself',
    );
    return;
  }
  const subnet = parsed(ipam.subnet, problems.at('subnet'));
  if (subnet === undefined) return;
  checkSubnet(subnet, problems.at('subnet'));
  if (subnet.prefixLength > LONGEST_PREFIX) return;
  if (ipam.gateway !== '') {
    const isHost = isAddress(ipam.gateway) && poolUsage(subnet, [ipam.gateway]).used === 1;
    problems
      .at('gateway')
      .require(isHost, `"${ipam.gateway}" is not an address for a gateway in ${ipam.subnet}`);
  }
  if (ipam.ipRange !== '') checkRange(ipam, subnet, problems.at('ipRange'));
}

function checkSubnet(subnet: Cidr, problems: Problems): void {
  const text = formatCidr(subnet);
  problems.require(
    subnet.prefixLength <= LONGEST_PREFIX,
    `${text} is too small: /${LONGEST_PREFIX} at least`,
  );
  problems.require(
    subnet.prefixLength >= SHORTEST_PREFIX,
    `${text} is too large: /${SHORTEST_PREFIX} at most`,
  );
  const special = SPECIAL.find((s) => subnetOverlaps(s, subnet));
  if (special === undefined) return;
  problems.add(`${text} overlaps ${formatCidr(special)}, whose addresses are for other purposes`);
}

function checkRange(ipam: IPAMConfig, subnet: Cidr, problems: Problems): void {
  const range = parsed(ipam.ipRange, problems);
  if (range === undefined) return;
  const isInside = subnetOverlaps(subnet, range) && range.prefixLength >= subnet.prefixLength;
  problems.require(isInside, `${ipam.ipRange} is not inside of ${ipam.subnet}`);
  const gateway = ipam.gateway || firstAddress(subnet);
  problems.require(
    !isInside || poolUsage(subnet, [gateway], range).free > 0,
    `${ipam.ipRange} has no address to give beside the gateway ${gateway}`,
  );
}

/** The subnets of one network may not overlap either. */
function checkApart(all: readonly IPAMConfig[], index: number, problems: Problems): void {
  const own = cidrFrom(all[index]?.subnet ?? '');
  if (own === undefined) return;
  for (const { subnet } of all.slice(0, index)) {
    const other = cidrFrom(subnet);
    if (other === undefined || !subnetOverlaps(own, other)) continue;
    problems.add(`${formatCidr(own)} overlaps ${subnet} of the same network`);
  }
}

function parsed(text: string, problems: Problems): Cidr | undefined {
  problems.try(() => parseCidr(text));
  return cidrFrom(text);
}
