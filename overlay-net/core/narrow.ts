import { difference } from './difference.js';
import type { NetworkState } from './network-state.js';

/** Two states cut down to what a step from one to the other can touch. */
export interface Narrowed {
  before: NetworkState;
  after: NetworkState;
}

/**
 * Cuts two states down to the parts whose plans may differ, so that planning a step costs what has
 * changed and not what there is: the difference of the plans of the parts is that of the whole.
 * 1. Objects are compared by identity; what comes from the managers unchanged keeps it.
 * 2. Networks and peers concern everything: if they differ, the states are left whole, and they are
 *    always in both parts.
 * 3. Links and loops hang on an address, places of a balancer on a service with all its tasks. Who
 *    shares an address or a published port with what has changed is therefore in the parts too.
 */
export function narrow(before: NetworkState, after: NetworkState): Narrowed {
  const isGroundSame =
    before.nodeId === after.nodeId &&
    changed(before.networks, after.networks).length === 0 &&
    changed(before.peers, after.peers).length === 0;
  if (!isGroundSame) return { before, after };
  const endpoints = changed(before.endpoints, after.endpoints);
  const services = changed(before.services, after.services);
  const addresses = new Set(endpoints.map((e) => e.address));
  const affected = new Set([...endpoints, ...services].map((o) => o.serviceId));
  affected.delete(''); // the tasks of no service have nothing in common
  // what did not change is among those of before
  const all = [before.services, services] as const;
  const places = new Set(all.flatMap((some) => placesOf(some, affected)));
  const touched = new Set(affected);
  for (const some of all) {
    for (const service of some) if (isAt(service, places)) touched.add(service.serviceId);
  }
  if (touched.size === 0 && addresses.size === 0)
    return { before: bare(before), after: bare(after) };
  const [oldEndpoints, newEndpoints] = filterBoth(
    before.endpoints,
    after.endpoints,
    (e) => touched.has(e.serviceId) || addresses.has(e.address),
  );
  const [oldServices, newServices] = filterBoth(before.services, after.services, (s) =>
    touched.has(s.serviceId),
  );
  return {
    before: { ...before, endpoints: oldEndpoints, services: oldServices },
    after: { ...after, endpoints: newEndpoints, services: newServices },
  };
}

/** Filters two lists, looking once at what they begin with in common. */
function filterBoth<T>(
  before: readonly T[],
  after: readonly T[],
  isKept: (item: T) => boolean,
): [T[], T[]] {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start++;
  const common = before.slice(0, start).filter(isKept);
  const rest = (list: readonly T[]): T[] => list.slice(start).filter(isKept);
  return [
    [...common, ...rest(before)],
    [...common, ...rest(after)],
  ];
}

/** Networks and peers alone. */
function bare(state: NetworkState): NetworkState {
  return { ...state, endpoints: [], services: [] };
}

type Service = NetworkState['services'][number];

type Place = string | number;

/** Where two services can meet: a virtual address, a published port of whatever protocol. */
function placesOf(services: readonly Service[], serviceIds: ReadonlySet<string>): Place[] {
  return services
    .filter((s) => serviceIds.has(s.serviceId))
    .flatMap(({ virtualIp, ports }) => [virtualIp, ...ports.map((p) => p.publishedPort)])
    .filter((place) => place !== '');
}

function isAt({ virtualIp, ports }: Service, places: ReadonlySet<Place>): boolean {
  return places.has(virtualIp) || ports.some((p) => places.has(p.publishedPort));
}

/** The objects that are in one of two lists only. */
function changed<T>(before: readonly T[], after: readonly T[]): T[] {
  const { gone, come } = difference(before, after);
  return [...gone, ...come];
}
