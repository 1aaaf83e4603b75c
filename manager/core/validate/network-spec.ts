import {
  formatAddress,
  isAddress,
  parseCidr,
  subnetContains,
  subnetOverlaps,
} from '../../../overlay-net/core/ipam.js';
import type { IPAMConfig, NetworkSpec } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../snapshot.js';
import { Problems, type Problem } from './problem.js';

const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
/** Smaller ones have no room for a gateway, a service address and tasks. */
const LONGEST_PREFIX = 29;
const RESERVED = new Set(['host', 'none', 'bridge']);

/** The spec with defaults where it says nothing. */
export function networkWithDefaults(spec: NetworkSpec): NetworkSpec {
  return { ...spec, driver: spec.driver === '' ? 'overlay' : spec.driver };
}

/** Every mistake in the spec of a network that is to be created. */
export function validateNetworkSpec(spec: NetworkSpec, snapshot: Snapshot): Problem[] {
  const problems = new Problems();
  const name = problems.at('name');
  name.require(
    NETWORK_NAME.test(spec.name) && !RESERVED.has(spec.name),
    `"${spec.name}" is not a valid name: letters, digits, "-", "_" and ".", at most 128 ` +
      'characters, none of host, none, bridge',
  );
  const others = [...snapshot.networks()];
  const namesake = others.find((n) => n.spec.name === spec.name);
  if (namesake !== undefined) {
    const what = namesake.pendingDelete ? 'is still being removed' : 'exists already';
    name.add(`network ${spec.name} ${what}`, 'already-exists');
  }
  if (spec.driver !== 'overlay') {
    problems
      .at('driver')
      .add(`driver "${spec.driver}" is not offered: use overlay`, 'unimplemented');
  }
  const ingress = others.find((n) => n.spec.ingress);
  if (spec.ingress && ingress !== undefined) {
    problems
      .at('ingress')
      .add(`${ingress.spec.name} is the ingress network already`, 'already-exists');
  }
  problems
    .at('mtuBytes')
    .require(
      spec.mtuBytes === 0 || (spec.mtuBytes >= 576 && spec.mtuBytes <= 65_535),
      `${spec.mtuBytes} is not between 576 and 65535`,
    );
  for (const ipam of spec.ipam) checkIpam(ipam, snapshot, problems.at('ipam'));
  return problems.list;
}

function checkIpam(ipam: IPAMConfig, snapshot: Snapshot, problems: Problems): void {
  if (ipam.subnet === '') {
    problems.require(
      ipam.gateway === '' && ipam.ipRange === '',
      'a gateway or range needs a subnet',
    );
    return;
  }
  const before = problems.list.length;
  problems.at('subnet').try(() => parseCidr(ipam.subnet));
  if (problems.list.length > before) return;
  const subnet = parseCidr(ipam.subnet);
  problems
    .at('subnet')
    .require(
      subnet.prefixLength <= LONGEST_PREFIX,
      `${ipam.subnet} is too small: /${LONGEST_PREFIX} at least`,
    );
  for (const other of snapshot.networks()) {
    const taken = other.ipam[0]?.subnet ?? other.spec.ipam[0]?.subnet ?? '';
    if (taken === '' || !subnetOverlaps(subnet, parseCidr(taken))) continue;
    problems
      .at('subnet')
      .add(`${ipam.subnet} overlaps ${taken} of network ${other.spec.name}`, 'already-exists');
  }
  if (ipam.gateway !== '') {
    const isHost =
      isAddress(ipam.gateway) &&
      subnetContains(subnet, ipam.gateway) &&
      ipam.gateway !== formatAddress(subnet.base);
    problems.at('gateway').require(isHost, `"${ipam.gateway}" is not an address of ${ipam.subnet}`);
  }
  if (ipam.ipRange !== '') checkRange(ipam, problems.at('ipRange'));
}

function checkRange(ipam: IPAMConfig, problems: Problems): void {
  problems.try(() => {
    const range = parseCidr(ipam.ipRange);
    const inside = subnetContains(parseCidr(ipam.subnet), formatAddress(range.base));
    const isLarger = range.prefixLength < parseCidr(ipam.subnet).prefixLength;
    problems.require(inside && !isLarger, `${ipam.ipRange} is not inside of ${ipam.subnet}`);
  });
}
