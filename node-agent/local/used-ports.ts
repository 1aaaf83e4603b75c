import type { NetworkState } from '../../overlay-net/driver.js';
import { PortProtocol, type UsedPort } from '../../proto/gen/hatoba/v1/types.js';
import type { Containers, ContainerState } from '../../runtime/engine.js';
import { hostListeners, type HostListener } from './host-listeners.js';
import type { HostPortClaims } from './host-port-claims.js';
import { ingressPorts, withoutGateways } from './other-ports.js';
import type { PortUse } from './port-use.js';
import type { SocketOwner, SocketOwners } from './socket-owners.js';
import { isTaskContainer } from './task-container.js';

export interface UsedPortsModules {
  readonly containers: Pick<Containers, 'list'>;
  readonly ports: Pick<HostPortClaims, 'ofContainers' | 'ofTasks'>;
  readonly owners: Pick<SocketOwners, 'of'>;
  /** Networks of the cluster and of this node. */
  readonly networks: () => Pick<NetworkState, 'networks' | 'services'>;
  /** Where the kernel takes ports from for those who ask for none. */
  readonly ephemeralPorts: { readonly first: number; readonly last: number };
  readonly listeners?: () => Promise<HostListener[]>;
}

/** As many as managers are told of. */
const MAX_PORTS = 1000;

const PROTOCOLS: Readonly<Record<PortUse['protocol'], PortProtocol>> = {
  tcp: PortProtocol.TCP,
  udp: PortProtocol.UDP,
  sctp: PortProtocol.SCTP,
};

/**
 * The ports of this host that something other than tasks has: what containers of this node alone
 * publish, and what programs listen on. Not among them is what tasks listen on or publish, and the
 * names that the agent answers on each gateway. A UDP socket with a port that the kernel chose is a
 * client that waits for an answer.
 */
export async function usedPorts(modules: UsedPortsModules): Promise<UsedPort[]> {
  const { ports, listeners = hostListeners } = modules;
  const state = modules.networks();
  const [ofContainers, ofTasks, listening] = await Promise.all([
    ports.ofContainers(),
    ports.ofTasks(),
    listeners(),
  ]);
  const published = new Set([...ingressPorts(state), ...ofTasks].map(numberOf));
  const servers = withoutGateways(listening, state).filter(
    (listener) =>
      listener.port !== 0 &&
      !published.has(numberOf(listener)) &&
      !(listener.protocol === 'udp' && isEphemeral(listener.port, modules)),
  );
  const held = await holders(servers, modules);
  return toUsedPorts([...ofContainers, ...held]);
}

function numberOf({ protocol, port }: PortUse): string {
  return `${port}/${protocol}`;
}

function isEphemeral(port: number, { ephemeralPorts }: UsedPortsModules): boolean {
  return port >= ephemeralPorts.first && port <= ephemeralPorts.last;
}

/** Listeners with who they are; without those of tasks. */
async function holders(
  listeners: readonly HostListener[],
  { owners, containers }: UsedPortsModules,
): Promise<PortUse[]> {
  const owner = await owners.of(listeners.map(({ inode }) => inode));
  const running = containers.list().filter(({ cgroupPath }) => cgroupPath !== '');
  return listeners.flatMap((listener) => {
    const who = owner.get(listener.inode);
    const container = who === undefined ? undefined : containerOf(who, running);
    if (container !== undefined && isTaskContainer(container.config)) return [];
    return { ...listener, holder: holderText(who, container) };
  });
}

/** The container that a process is of: its cgroup is that, or below it. */
function containerOf(
  { cgroup }: SocketOwner,
  running: readonly ContainerState[],
): ContainerState | undefined {
  const paths = cgroup.split('\n').map((line) => `${line.split(':').slice(2).join(':')}/`);
  return running.find(({ cgroupPath }) =>
    paths.some((path) => path.includes(`${withSlash(cgroupPath)}/`)),
  );
}

function withSlash(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}

function holderText(owner: SocketOwner | undefined, container: ContainerState | undefined): string {
  if (container !== undefined) return `container "${container.config.name}"`;
  if (owner === undefined) return 'the kernel, or a process that is hidden from the agent';
  if (owner.pid === process.pid) return 'the agent of this node';
  return `${owner.program === '' ? 'a program' : owner.program} (pid ${owner.pid})`;
}

/** Sorted, so that the same ports are always told of in the same way. */
function toUsedPorts(uses: readonly PortUse[]): UsedPort[] {
  const byPlace = new Map<string, UsedPort>();
  for (const { protocol, hostIp, port, holder } of uses) {
    const address = hostIp === '0.0.0.0' ? '' : hostIp;
    const place = `${String(port).padStart(5, '0')}/${protocol} ${address}`;
    if (byPlace.has(place)) continue;
    byPlace.set(place, { protocol: PROTOCOLS[protocol], port, hostIp: address, holder });
  }
  return [...byPlace]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, use]) => use)
    .slice(0, MAX_PORTS);
}
