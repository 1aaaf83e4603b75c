import { HatobaError } from '../../common/errors.js';
import type { NetworkConfig, NetworkService } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { NetworkState, SandboxConfig } from './network-state.js';
import {
  formatCidr,
  isAddress,
  parseAddress,
  parseCidr,
  parseInterface,
  subnetContains,
  subnetOverlaps,
} from './ipam.js';
import { cidrsOf, firstSubnet } from './subnets.js';
import { isLocalNetwork, linkedNetworks, tunnelPort } from './link-plan.js';

const MAX_VNI = 2 ** 24 - 1;
const MAX_NODE_INDEX = 2 ** 16 - 1;
/** Of links that carry IPv4. */
const MIN_MTU_BYTES = 68;

/**
 * What the plans rely on. They write these values into netlink messages and nft scripts, so nothing
 * but addresses and numbers may get there.
 * @throws {HatobaError} invalid-argument, naming the object and what is wrong with it
 */
export function checkState(state: NetworkState): void {
  const networks = linkedNetworks(state);
  networks.forEach(checkNetwork);
  checkApart(networks);
  for (const { address, taskId } of state.endpoints) {
    check(address === '' || isAddress(address), `task ${taskId}: address "${address}"`);
  }
  state.services.forEach(checkService);
  for (const { nodeId, index, dataPathAddress } of state.peers) {
    const what = `node ${nodeId}`;
    check(isWithin(index, 1, MAX_NODE_INDEX), `${what}: index ${index}`);
    const isValid = dataPathAddress === '' || isAddress(dataPathAddress);
    check(isValid, `${what}: data path address "${dataPathAddress}" (not IPv4)`);
  }
}

function checkNetwork(network: NetworkConfig): void {
  const what = nameOf(network);
  const { mtuBytes, vni } = network;
  firstSubnet(network);
  for (const { subnet, gateway } of network.subnets) {
    check(subnetContains(parseCidr(subnet), gateway), `${what}: gateway "${gateway}"`);
  }
  check(mtuBytes === 0 || isWithin(mtuBytes, MIN_MTU_BYTES, 65535), `${what}: MTU ${mtuBytes}`);
  if (isLocalNetwork(network)) return;
  check(isWithin(vni, 1, MAX_VNI), `${what}: VNI ${vni}`);
  check(isPort(tunnelPort(network)), `${what}: data path port ${network.dataPathPort}`);
}

/** No two networks may have a tunnel in common, no two subnets an address. */
function checkApart(networks: readonly NetworkConfig[]): void {
  const vnis = new Map<number, NetworkConfig>();
  for (const network of networks.filter((n) => !isLocalNetwork(n))) {
    const other = vnis.get(network.vni);
    if (other !== undefined) refuse(`${nameOf(network)} has the VNI of ${nameOf(other)}`);
    vnis.set(network.vni, network);
  }
  const subnets = networks
    .flatMap((network) => cidrsOf(network).map((cidr) => ({ network, cidr })))
    .sort((a, b) => a.cidr.base - b.cidr.base);
  for (const [i, { network, cidr }] of subnets.entries()) {
    const next = subnets[i + 1];
    if (next === undefined || !subnetOverlaps(cidr, next.cidr)) continue;
    const [one, two] = [formatCidr(cidr), formatCidr(next.cidr)];
    refuse(`subnet ${one} of ${nameOf(network)} overlaps ${two} of ${nameOf(next.network)}`);
  }
}

function checkService({ virtualIp, name, ports }: NetworkService): void {
  check(virtualIp === '' || isAddress(virtualIp), `service ${name}: address "${virtualIp}"`);
  for (const { publishedPort, targetPort, hostIp } of ports) {
    check(hostIp === '' || isAddress(hostIp), `service ${name}: host address "${hostIp}"`);
    check(isPort(publishedPort), `service ${name}: published port ${publishedPort}`);
    check(isPort(targetPort), `service ${name}: target port ${targetPort}`);
  }
}

/**
 * The same for a sandbox.
 * @throws {HatobaError} invalid-argument
 */
export function checkSandbox(config: SandboxConfig): void {
  const what = `sandbox ${config.id}`;
  check(/^[\w][\w.-]*$/.test(config.id), `"${config.id}" as the name of a sandbox`);
  for (const { address } of config.attachments) parseInterface(address);
  for (const { hostIp, publishedPort, targetPort } of config.hostPorts) {
    if (hostIp !== '') parseAddress(hostIp);
    check(isPort(publishedPort), `${what}: host port ${publishedPort}`);
    check(isPort(targetPort), `${what}: target port ${targetPort}`);
  }
}

function isPort(port: number): boolean {
  return isWithin(port, 1, 65535);
}

function isWithin(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max;
}

function nameOf({ name, networkId }: NetworkConfig): string {
  return `network ${name} (${networkId})`;
}

function check(condition: boolean, what: string): void {
  if (!condition) refuse(`${what} is not valid`);
}

function refuse(message: string): never {
  throw new HatobaError('invalid-argument', message);
}
