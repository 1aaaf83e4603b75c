import type { Network } from '../../common/model/objects.js';
import type { NetworkDetails, NetworkUser } from '../../proto/gen/hatoba/v1/control.js';
import type { EngineNetwork } from '../../proto/gen/hatoba/v1/engine.js';
import { hasLabel, type Listing } from './listing.js';
import { timeText } from './rows.js';

/** Where a network is: defined once for all nodes, or of one node alone. */
export type NetworkScope = 'cluster' | 'node';

/** The JSON form of `hatoba network ls`. Its fields are fixed; scripts count on them. */
export interface NetworkRow {
  id: string;
  name: string;
  driver: string;
  scope: NetworkScope;
  subnets: string[];
  gateways: string[];
  internal: boolean;
  attachable: boolean;
  ingress: boolean;
  /** 0 without tunnels. */
  vni: number;
  labels: Record<string, string>;
  /** It is going: what is on it has ended or will not be there. */
  removing: boolean;
  createdAt: string | null;
}

export const NETWORKS: Listing<NetworkRow> = {
  key: (n) => n.id.slice(0, 12),
  columns: [
    { title: 'NETWORK ID', field: 'ID', value: (n) => n.id.slice(0, 12) },
    { title: 'NAME', field: 'Name', value: (n) => n.name },
    { title: 'DRIVER', field: 'Driver', value: (n) => n.driver },
    { title: 'SCOPE', field: 'Scope', value: (n) => n.scope },
    { title: 'SUBNETS', value: (n) => n.subnets.join(' '), wide: true },
    { title: 'VNI', value: (n) => (n.vni === 0 ? '' : String(n.vni)), wide: true },
    { title: 'NOTES', value: notesOf, wide: true },
  ],
  fields: {
    Internal: (n) => String(n.internal),
    IPv6: () => 'false',
    CreatedAt: (n) => n.createdAt,
    Labels: (n) => n.labels,
  },
  filters: {
    id: (n, value) => n.id.startsWith(value),
    name: (n, value) => n.name.includes(value),
    driver: (n, value) => n.driver === value,
    label: (n, value) => hasLabel(n.labels, value),
    scope: (n, value) => n.scope === (DOCKER_SCOPES[value] ?? value),
  },
};

/** Docker's words for them. */
const DOCKER_SCOPES: Readonly<Record<string, NetworkScope>> = {
  swarm: 'cluster',
  global: 'cluster',
  local: 'node',
};

function notesOf({ internal, attachable, ingress, removing }: NetworkRow): string {
  const notes = { internal, attachable, ingress, removing };
  return Object.entries(notes)
    .flatMap(([note, holds]) => (holds ? [note] : []))
    .join(' ');
}

export function networkRow(network: Network): NetworkRow {
  const { id, spec, ipam, vni, createdAtMs } = network;
  return {
    id,
    name: spec.name,
    driver: spec.driver,
    scope: scopeOf(spec.driver),
    subnets: ipam.map(({ subnet }) => subnet),
    gateways: ipam.map(({ gateway }) => gateway),
    internal: spec.internal,
    attachable: spec.attachable,
    ingress: spec.ingress,
    vni,
    labels: spec.labels,
    removing: network.pendingDelete,
    createdAt: timeText(createdAtMs),
  };
}

/** What is the host's own is another one on every node. */
function scopeOf(driver: string): NetworkScope {
  return driver === 'host' || driver === 'none' ? 'node' : 'cluster';
}

/** The network that one node alone has. */
export function nodeNetworkRow({ id, name, driver, subnet, gateway }: EngineNetwork): NetworkRow {
  return {
    ...{ id, name, driver, scope: 'node', subnets: [subnet], gateways: [gateway] },
    ...{ internal: false, attachable: true, ingress: false, vni: 0, labels: {} },
    ...{ removing: false, createdAt: null },
  };
}

/**
 * What `docker network inspect --verbose` prints, field by field, and what Hatoba knows besides: how
 * full each subnet is, and who is on the network on which node.
 * @param hostnames by node id
 */
export function dockerNetwork(
  details: NetworkDetails & { network: Network },
  hostnames: ReadonlyMap<string, string>,
): object {
  const { network, subnets, nodes } = details;
  const { id, spec, ipam, vni } = network;
  const hostOf = (nodeId: string): string => hostnames.get(nodeId) ?? nodeId;
  return {
    Name: spec.name,
    Id: id,
    Created: timeText(network.createdAtMs),
    Scope: scopeOf(spec.driver),
    Driver: spec.driver,
    EnableIPv6: false,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: ipam.map(({ subnet, gateway, ipRange }, i) => ({
        Subnet: subnet,
        ...(ipRange === '' ? {} : { IPRange: ipRange }),
        Gateway: gateway,
        Used: subnets[i]?.used ?? 0,
        Free: subnets[i]?.free ?? 0,
      })),
    },
    Internal: spec.internal,
    Attachable: spec.attachable,
    Ingress: spec.ingress,
    HostAccess: spec.hostAccess,
    VNI: vni,
    MTU: details.mtuBytes,
    Containers: Object.fromEntries(
      details.containers.map((user) => [
        user.id,
        { Name: user.name, IPv4Address: user.address, Host: hostOf(user.nodeId), State: user.state }, // prettier-ignore
      ]),
    ),
    Services: servicesOf(details, hostOf),
    Nodes: nodes.map(({ nodeId, appliedRevision }) => ({
      Host: hostOf(nodeId),
      ...(appliedRevision === undefined ? {} : { AppliedRevision: appliedRevision }),
    })),
    Options: spec.options,
    Labels: spec.labels,
  };
}

function servicesOf(
  { services, tasks }: Pick<NetworkDetails, 'services' | 'tasks'>,
  hostOf: (nodeId: string) => string,
): object {
  const serviceOf = ({ name }: NetworkUser): string => name.replace(/\.[^.]*$/, '');
  const names = [...new Set([...services.map(({ name }) => name), ...tasks.map(serviceOf)])];
  const shown = names.map((name) => {
    const vip = services.find((service) => service.name === name)?.address ?? '';
    const own = tasks.filter((task) => serviceOf(task) === name);
    const rows = own.map((task) => ({
      Name: task.name,
      ID: task.id,
      EndpointIP: task.address,
      Host: hostOf(task.nodeId),
      State: task.state,
    }));
    return [name, { VIP: vip, Tasks: rows }] as const;
  });
  return Object.fromEntries(shown);
}

/** The same of the network that one node alone has. */
export function dockerNodeNetwork(network: EngineNetwork): object {
  const { id, name, driver, subnet, gateway, mtuBytes, containers } = network;
  return {
    Name: name,
    Id: id,
    Created: null,
    Scope: 'node',
    Driver: driver,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: [{ Subnet: subnet, Gateway: gateway }] },
    Internal: false,
    Attachable: true,
    Ingress: false,
    MTU: mtuBytes,
    Containers: Object.fromEntries(
      containers.map((user) => [user.id, { Name: user.name, IPv4Address: user.address }]),
    ),
    Options: {},
    Labels: {},
  };
}
