import type { Network, Node } from '../../../common/model/objects.js';
import { taskName } from '../../../common/model/task-place.js';
import { isWanted } from '../../../common/model/task-state.js';
import type { ClusterObjects } from './cluster-objects.js';
import { bare, endpointsOf, networksOn, servicesOn, type Endpoint } from './network-model.js';

/**
 * What the kernel of a node must hold for what the store says, a line for each entry, worked out
 * without any code of the driver: so a mistake in a plan of the driver's is not repeated here.
 */
export function expectedFacts(objects: ClusterObjects, node: Node): ExpectedFacts {
  const facts = new Set<string>();
  const endpoints = endpointsOf(objects);
  for (const network of networksOn(objects, node.id)) {
    const on = endpoints.filter((e) => e.networkId === network.id);
    addLinks(facts, network, node);
    addEndpoints(facts, { network, node, objects }, on);
    addServices(facts, { network, objects }, on);
    if (network.spec.ingress) addPeers(facts, { network, node, objects });
  }
  const open = new Set<string>();
  addSandboxes({ certain: facts, open }, objects, node);
  return { certain: facts, open };
}

export interface ExpectedFacts {
  certain: Set<string>;
  /** May be so or not: links of tasks that are just being made ready or stopped. */
  open: Set<string>;
}

interface Place {
  network: Network;
  node: Node;
  objects: ClusterObjects;
}

function addLinks(facts: Set<string>, { vni, ipam }: Network, node: Node): void {
  facts.add(`link ${bridge(vni)} ${bridgeMac(node.index, vni)} up`);
  facts.add(`link ${vxlan(vni)} vni ${vni} port of ${bridge(vni)} up`);
  for (const { gateway, subnet } of ipam) {
    facts.add(`address ${bridge(vni)} ${gateway}/${subnet.split('/')[1] ?? ''}`);
  }
}

function addEndpoints(facts: Set<string>, place: Place, endpoints: readonly Endpoint[]): void {
  const { network, node, objects } = place;
  const at = new Map(objects.nodes.map((n) => [n.id, n.description.dataPathAddress]));
  for (const { address, nodeId } of endpoints) {
    const mac = endpointMac(address);
    facts.add(`neighbour ${bridge(network.vni)} ${address} ${mac}`);
    if (nodeId !== node.id) addForwarding(facts, network.vni, mac, at.get(nodeId) ?? '');
  }
}

/** A frame needs both tables: behind which port of the bridge, and behind which node. */
function addForwarding(facts: Set<string>, vni: number, mac: string, destination: string): void {
  facts.add(`fdb ${vxlan(vni)} ${mac} behind the bridge's port`);
  facts.add(`fdb ${vxlan(vni)} ${mac} at ${destination}`);
}

function addServices(
  facts: Set<string>,
  { network, objects }: Omit<Place, 'node'>,
  endpoints: readonly Endpoint[],
): void {
  for (const { service, virtualIp } of servicesOn(objects, network)) {
    const ready = endpoints.filter((e) => e.serviceId === service.id && e.ready);
    if (virtualIp !== '') {
      facts.add(`address ${bridge(network.vni)} ${virtualIp}/32`);
      facts.add(`virtual address ${virtualIp}`);
    }
    for (const { address } of virtualIp === '' ? [] : ready) {
      facts.add(`balance ${virtualIp} to ${address}`);
    }
    if (!network.spec.ingress) continue;
    for (const port of service.endpoint.ports) {
      if (port.publishMode !== 'PUBLISH_MODE_INGRESS') continue;
      const published = `${port.protocol.slice('PORT_PROTOCOL_'.length).toLowerCase()} ${port.publishedPort}`;
      facts.add(`published ${published}`);
      for (const { address } of ready) {
        facts.add(`publish ${published} to ${address}:${port.targetPort}`);
      }
    }
  }
}

/** Ways back to where connections came in. */
function addPeers(facts: Set<string>, { network: { vni }, node, objects }: Place): void {
  for (const { id, index, description } of objects.nodes) {
    if (id === node.id || description.dataPathAddress === '') continue;
    const mac = bridgeMac(index, vni);
    const mark = PEER_MARK + index;
    addForwarding(facts, vni, mac, description.dataPathAddress);
    facts.add(`peer ${mac} has mark ${mark}`);
    facts.add(`mark ${mark} leads to ${mac}`);
  }
}
const PEER_MARK = 0x48000000;

/** The links of this node's own tasks and containers, on the host and inside. */
function addSandboxes(facts: ExpectedFacts, objects: ClusterObjects, node: Node): void {
  const networks = new Map(objects.networks.map((n) => [n.id, n]));
  const least = new Map<string, number>();
  const most = new Map<string, number>();
  const addLink = (networkId: string, cidr: string, isCertain: boolean, name: string): void => {
    const network = networks.get(networkId);
    if (network?.spec.driver !== 'overlay') return;
    const mac = endpointMac(bare(cidr));
    const into = isCertain ? facts.certain : facts.open;
    into.add(`may send: ${mac} ${bare(cidr)}`);
    if (name !== '') into.add(`inside ${name}: ${cidr} ${mac}`);
    count(most, bridge(network.vni));
    if (isCertain) count(least, bridge(network.vni));
  };
  for (const task of objects.tasks.filter((t) => t.nodeId === node.id)) {
    const name = taskName(task);
    const isSettled = task.status.state === 'TASK_STATE_RUNNING' && isWanted(task.desiredState);
    for (const {
      networkId,
      addresses: [cidr = ''],
    } of task.networksAttachments) {
      addLink(networkId, cidr, isSettled, name);
    }
  }
  for (const [networkId, users] of objects.containers) {
    const own = users.filter((u) => u.nodeId === node.id && u.state === 'active');
    for (const { address } of own) addLink(networkId, address, true, '');
  }
  for (const [name, number] of most) {
    for (let n = least.get(name) ?? 0; n <= number; n++) {
      facts.open.add(`ports ${name} ${n} of containers`);
    }
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function bridge(vni: number): string {
  return `hb${vni.toString(16)}`;
}

function vxlan(vni: number): string {
  return `hv${vni.toString(16)}`;
}

function bridgeMac(nodeIndex: number, vni: number): string {
  return macOf([6, nodeIndex >> 8, nodeIndex & 255, vni >> 16, (vni >> 8) & 255, vni & 255]);
}

function endpointMac(address: string): string {
  return macOf([2, 0x42, ...address.split('.').map(Number)]);
}

function macOf(bytes: readonly number[]): string {
  return bytes.map((b) => b.toString(16).padStart(2, '0')).join(':');
}
