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
  const places = new Set([before, after].flatMap((s) => placesOf(s, affected)));
  const touched = new Set(affected);
  for (const state of [before, after]) {
    for (const service of state.services) {
      if (placesOfService(service).some((p) => places.has(p))) touched.add(service.serviceId);
    }
  }
  const cut = (state: NetworkState): NetworkState => ({
    ...state,
    endpoints: state.endpoints.filter((e) => touched.has(e.serviceId) || addresses.has(e.address)),
    services: state.services.filter((s) => touched.has(s.serviceId)),
  });
  return { before: cut(before), after: cut(after) };
}

type Service = NetworkState['services'][number];

function placesOf(state: NetworkState, serviceIds: ReadonlySet<string>): (string | number)[] {
  return state.services.filter((s) => serviceIds.has(s.serviceId)).flatMap(placesOfService);
}

/** Where two services can meet: a virtual address, a published port of whatever protocol. */
function placesOfService({ virtualIp, ports }: Service): (string | number)[] {
  return [...(virtualIp === '' ? [] : [virtualIp]), ...ports.map((p) => p.publishedPort)];
}

/** The objects that are in one of two lists only. */
function changed<T>(before: readonly T[], after: readonly T[]): T[] {
  const { gone, come } = difference(before, after);
  return [...gone, ...come];
}
