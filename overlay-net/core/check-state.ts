import { HatobaError } from '../../common/errors.js';
import type { NetworkState, SandboxConfig } from './network-state.js';
import { isAddress, parseAddress, parseCidr, parseInterface, subnetContains } from './ipam.js';
import { firstSubnet } from './subnets.js';
import { isLocalNetwork, linkedNetworks, tunnelPort } from './link-plan.js';

const MAX_VNI = 2 ** 24 - 1;
const MAX_NODE_INDEX = 2 ** 16 - 1;

/**
 * What the plans rely on. They write these values into netlink messages and nft scripts, so nothing
 * but addresses and numbers may get there.
 * @throws {HatobaError} invalid-argument, naming the object and what is wrong with it
 */
export function checkState(state: NetworkState): void {
  const vnis = new Map<number, string>();
  const bridges = new Map<number, string>();
  for (const network of linkedNetworks(state)) {
    const what = `network ${network.name} (${network.networkId})`;
    const { base } = parseCidr(firstSubnet(network).subnet);
    for (const { subnet, gateway } of network.subnets) {
      check(subnetContains(parseCidr(subnet), gateway), `${what}: gateway "${gateway}"`);
    }
    if (isLocalNetwork(network)) {
      const other = bridges.get(base);
      check(other === undefined, `${what}: its subnet is that of ${other ?? ''}`);
      bridges.set(base, what);
      continue;
    }
    check(isWithin(network.vni, 1, MAX_VNI), `${what}: VNI ${network.vni}`);
    check(isPort(tunnelPort(network)), `${what}: data path port ${network.dataPathPort}`);
    check(!vnis.has(network.vni), `${what}: its VNI is that of ${vnis.get(network.vni) ?? ''}`);
    vnis.set(network.vni, what);
  }
  for (const { address, taskId } of state.endpoints) {
    check(address === '' || isAddress(address), `task ${taskId}: address "${address}"`);
  }
  for (const { virtualIp, name, ports } of state.services) {
    check(virtualIp === '' || isAddress(virtualIp), `service ${name}: address "${virtualIp}"`);
    for (const { publishedPort, targetPort, hostIp } of ports) {
      check(hostIp === '' || isAddress(hostIp), `service ${name}: host address "${hostIp}"`);
      check(isPort(publishedPort), `service ${name}: published port ${publishedPort}`);
      check(isPort(targetPort), `service ${name}: target port ${targetPort}`);
    }
  }
  for (const { nodeId, index, dataPathAddress } of state.peers) {
    const what = `node ${nodeId}`;
    check(isWithin(index, 1, MAX_NODE_INDEX), `${what}: index ${index}`);
    const isValid = dataPathAddress === '' || isAddress(dataPathAddress);
    check(isValid, `${what}: data path address "${dataPathAddress}" is not IPv4`);
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

function check(condition: boolean, what: string): void {
  if (!condition) throw new HatobaError('invalid-argument', `${what} is not valid`);
}
