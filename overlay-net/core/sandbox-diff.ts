import type { AddressInfo, LinkInfo, NetlinkOp, RouteInfo } from '../../linux/ports.js';
import type { Repair } from './drift.js';
import { formatCidr, parseInterface, subnetOf } from './ipam.js';
import type { PlannedSandboxLink, SandboxPlan } from './sandbox-plan.js';

/** What the kernel has of a sandbox: links of the host, and all that is inside. */
export interface SandboxView {
  host: readonly LinkInfo[];
  inside: {
    links: readonly LinkInfo[];
    addresses: readonly AddressInfo[];
    routes: readonly RouteInfo[];
  };
}

export const EMPTY_VIEW: SandboxView = {
  host: [],
  inside: { links: [], addresses: [], routes: [] },
};

export interface SandboxChanges {
  /** Operations inside that come first, those in the host's namespace, then those inside. */
  before: NetlinkOp[];
  host: NetlinkOp[];
  inside: NetlinkOp[];
  repairs: Repair[];
}

/**
 * What makes a sandbox as planned. What is there beside the plan is left alone: a container with the
 * capability to do so may have addresses, routes and links of its own.
 */
export function diffSandbox(plan: SandboxPlan, netns: string, view: SandboxView): SandboxChanges {
  const changes: SandboxChanges = { before: [], host: [], inside: [], repairs: [] };
  for (const link of plan.links) diffLink(link, netns, view, changes);
  return changes;
}

function diffLink(
  link: PlannedSandboxLink,
  netns: string,
  view: SandboxView,
  changes: SandboxChanges,
): void {
  const { hostLink, name } = link;
  const host = view.host.find((l) => l.name === hostLink);
  const named = view.inside.links.find((l) => l.name === name);
  const inner = view.inside.links.find(
    (l) => host?.kind === 'veth' && l.index === host.peer && l.peer === host.index,
  );
  if (host === undefined || inner === undefined) {
    if (host !== undefined) changes.host.push({ op: 'link-del', name: hostLink });
    if (named !== undefined) changes.before.push({ op: 'link-del', name });
    addLink(link, netns, changes);
    return;
  }
  if (inner.name !== name) {
    if (named !== undefined) changes.before.push({ op: 'link-del', name });
    changes.before.push(
      { op: 'link-set', name: inner.name, up: false },
      { op: 'link-set', name: inner.name, newName: name },
    );
    note(changes, 'changed', `link ${inner.name} to ${name}`);
  }
  diffHostEnd(link, host, view, changes);
  diffInnerEnd(link, inner, view, changes);
}

function addLink(link: PlannedSandboxLink, netns: string, changes: SandboxChanges): void {
  const { hostLink, name, bridge, port, mtuBytes, mac, cidr, routes } = link;
  const peer = { name, netns, mac };
  changes.host.push(
    { op: 'link-add', kind: 'veth', name: hostLink, mtuBytes, peer },
    { op: 'link-set', name: hostLink, master: bridge, up: true },
    { op: 'bridge-port', name: hostLink, ...port },
  );
  changes.inside.push(
    { op: 'link-set', name, mtuBytes, up: true },
    { op: 'address-add', link: name, cidr },
    ...routes.map((route) => ({ op: 'route-add', ...route, link: name }) as const),
  );
  note(changes, 'added', `link ${hostLink} ${name} ${cidr}`);
}

function diffHostEnd(
  { hostLink, bridge, port, mtuBytes }: PlannedSandboxLink,
  host: LinkInfo,
  { host: links }: SandboxView,
  changes: SandboxChanges,
): void {
  const master = links.find((l) => l.index === host.master)?.name;
  if (master !== bridge || !host.up || host.mtuBytes !== mtuBytes) {
    changes.host.push({ op: 'link-set', name: hostLink, master: bridge, mtuBytes, up: true });
    const state = [`in ${master ?? 'no bridge'}`, host.up ? 'up' : 'down', `MTU ${host.mtuBytes}`];
    note(changes, 'changed', `link ${hostLink}: ${state.join(', ')}`);
  }
  const actual = new Map<string, boolean>(Object.entries(host.port ?? {}));
  const wrong = Object.entries(port).filter(([flag, value]) => actual.get(flag) !== value);
  if (master === bridge && wrong.length === 0) return;
  changes.host.push({ op: 'bridge-port', name: hostLink, ...port });
  if (master !== bridge) return;
  for (const [flag, value] of wrong) note(changes, 'changed', `link ${hostLink} ${flag} ${value}`);
}

function diffInnerEnd(
  link: PlannedSandboxLink,
  inner: LinkInfo,
  { inside }: SandboxView,
  changes: SandboxChanges,
): void {
  const { name, mtuBytes, mac, cidr } = link;
  const isUp = inner.up && inner.name === name;
  if (!isUp || inner.mtuBytes !== mtuBytes || inner.mac !== mac) {
    changes.inside.push({ op: 'link-set', name, mtuBytes, mac, up: true });
    const state = [inner.mac, inner.up ? 'up' : 'down', `MTU ${inner.mtuBytes}`];
    note(changes, 'changed', `link ${name}: ${state.join(', ')}`);
  }
  const hasAddress = inside.addresses.some((a) => a.link === inner.index && a.cidr === cidr);
  if (!hasAddress) {
    changes.inside.push({ op: 'address-add', link: name, cidr });
    note(changes, 'added', `address ${name} ${cidr}`);
  }
  // what a link that was down, or has no address, lost comes back by itself or is missing now
  const subnet = hasAddress && isUp ? [{ destination: subnetAroundCidr(cidr) }] : [];
  for (const route of [...subnet, ...link.routes]) {
    if (isUp && inside.routes.some((r) => isRoute(r, route, inner.index))) continue;
    changes.inside.push({ op: 'route-add', ...route, link: name });
    if (isUp) note(changes, 'added', `route ${name} ${route.destination}`);
  }
}

interface WantedRoute {
  destination: string;
  via?: string;
}

function isRoute(route: RouteInfo, { destination, via }: WantedRoute, link: number): boolean {
  return (
    route.table === 254 &&
    route.destination === destination &&
    route.via === via &&
    route.link === link
  );
}

function subnetAroundCidr(cidr: string): string {
  const { address, prefixLength } = parseInterface(cidr);
  return formatCidr(subnetOf(address, prefixLength));
}

function note({ repairs }: SandboxChanges, change: Repair['change'], what: string): void {
  repairs.push({ change, what });
}
