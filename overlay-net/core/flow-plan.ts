import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { difference } from './difference.js';
import { linkedNetworks } from './link-plan.js';
import type { NetworkState } from './network-state.js';
import { gatewaysOf } from './subnets.js';

/** Addresses to which flows must not go on. */
export interface FlowCuts {
  /** Nobody is there any more, or somebody else: whatever comes is answered with a reset. */
  all: string[];
  /** Somebody is there who gets nothing new: connections go on, but single packets go elsewhere. */
  udp: string[];
}

/**
 * The flows that a step from one state to another makes wrong. Endpoints are compared by identity,
 * so that it costs what has changed.
 */
export function planFlowCuts(before: NetworkState, after: NetworkState): FlowCuts {
  const { gone, come } = difference(before.endpoints, after.endpoints);
  const now = new Map(come.map((e) => [e.address, e]));
  const cuts: FlowCuts = { all: [], udp: [] };
  for (const old of gone) {
    if (old.address === '') continue;
    const endpoint = now.get(old.address);
    if (endpoint?.taskId !== old.taskId) cuts.all.push(old.address);
    else if (old.ready && !endpoint.ready) cuts.udp.push(old.address);
  }
  return cuts;
}

/** The addresses at which somebody else is after one step. */
export function handedOver(before: NetworkState, after: NetworkState): ReadonlySet<string> {
  const all = new Set(planFlowCuts(before, after).all);
  const there = all.size === 0 ? [] : after.endpoints.filter((e) => all.has(e.address));
  return new Set(there.map((e) => e.address));
}

/** Where all endpoints of this node's networks are: "10.0.1.0/24". */
export function subnetsOf(networks: readonly NetworkConfig[]): string[] {
  return networks.flatMap((n) => n.subnets.map((s) => s.subnet));
}

/** What may be left of a past that nobody remembers. */
export interface StaleFlows {
  /** Flows to any address of these subnets, but those excepted, lead nowhere. */
  within: string[];
  except: string[];
  /** As in FlowCuts. */
  udp: string[];
}

/** @param sandboxes addresses of the containers of this node */
export function planStaleFlows(state: NetworkState, sandboxes: readonly string[]): StaleFlows {
  const networks = linkedNetworks(state);
  const named = state.endpoints.filter((e) => e.address !== '');
  return {
    within: subnetsOf(networks),
    except: [
      ...named.map((e) => e.address),
      ...sandboxes,
      ...networks.flatMap(gatewaysOf),
      ...state.services.flatMap((s) => (s.virtualIp === '' ? [] : [s.virtualIp])),
    ],
    udp: named.filter((e) => !e.ready).map((e) => e.address),
  };
}
