import { HatobaError } from '../../common/errors.js';
import type { NetworkJoin } from '../../proto/gen/hatoba/v1/engine.js';
import type { PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig } from '../../runtime/engine.js';
import { addressOf } from '../../overlay-net/core/ipam.js';

/**
 * What a container of this node alone is connected to. It is kept with the container, for as long
 * as that is there. An address of the bridge is taken while a container has it here, and nothing
 * else says so; one of a network of the cluster is given by the managers.
 */
export type Attachment =
  | {
      readonly mode: 'bridge';
      /** "172.30.0.2/16" */
      readonly address: string;
      readonly gateway: string;
      /** With every published port filled in. */
      readonly ports: readonly PortConfig[];
    }
  | {
      readonly mode: 'cluster';
      /** At least one; the first has the way out. */
      readonly networks: readonly JoinedNetwork[];
      readonly ports: readonly PortConfig[];
    }
  | { readonly mode: 'host' | 'none' }
  /** The network namespace of another container. */
  | { readonly mode: 'container'; readonly id: string };

export type ClusterAttachment = Extract<Attachment, { mode: 'cluster' }>;

/** An attachable network of the cluster, and a container's place on it. */
export interface JoinedNetwork {
  readonly networkId: string;
  readonly name: string;
  /** "10.0.1.7/24" */
  readonly address: string;
  readonly gateway: string;
  /** As asked for; its id and host name are names of it besides. */
  readonly aliases: readonly string[];
}

const ANNOTATION = 'hatoba.network';
const SANDBOX_PREFIX = 'local-';

export function toAnnotations(attachment: Attachment): Record<string, string> {
  return { [ANNOTATION]: JSON.stringify(attachment) };
}

/** @returns undefined for a container that is not of this node alone: a task's */
export function attachmentOf(config: ContainerConfig): Attachment | undefined {
  const text = config.annotations?.[ANNOTATION];
  // written by toAnnotations alone
  return text === undefined ? undefined : (JSON.parse(text) as Attachment);
}

/** As it was asked for: "bridge", "host", "none", "container:ID", the name of a network. */
export function networkMode(attachment: Attachment): string {
  if (attachment.mode === 'container') return `container:${attachment.id}`;
  return attachment.mode === 'cluster' ? (attachment.networks[0]?.name ?? '') : attachment.mode;
}

/** "10.0.1.7" of each of its networks. */
export function addressesOf(attachment: Attachment): string[] {
  return cidrsOf(attachment).map((cidr) => addressOf(cidr));
}

function cidrsOf(attachment: Attachment): string[] {
  if (attachment.mode === 'bridge') return [attachment.address];
  return attachment.mode === 'cluster' ? attachment.networks.map(({ address }) => address) : [];
}

export function portsOf(attachment: Attachment): readonly PortConfig[] {
  return attachment.mode === 'bridge' || attachment.mode === 'cluster' ? attachment.ports : [];
}

export type WantedNetwork =
  | { readonly mode: 'bridge' | 'host' | 'none' }
  | { readonly mode: 'container'; readonly container: string }
  | { readonly mode: 'cluster'; readonly networks: readonly NetworkJoin[] };

/**
 * What a request asks for: a mode, or networks of the cluster.
 * @throws {HatobaError} invalid-argument
 */
export function wantedNetwork(request: {
  readonly networkMode: string;
  readonly networks: readonly NetworkJoin[];
}): WantedNetwork {
  const { networkMode: mode, networks } = request;
  if (networks.length > 0) {
    for (const join of networks) checkJoin(join, mode);
    return { mode: 'cluster', networks };
  }
  const own = nodeMode(mode);
  if (own !== undefined) return own;
  return { mode: 'cluster', networks: [{ network: mode, aliases: [], ipAddress: '' }] };
}

/** The modes that need no network of the cluster; undefined for others. */
function nodeMode(text: string): WantedNetwork | undefined {
  if (text === '' || text === 'default') return { mode: 'bridge' };
  if (text === 'bridge' || text === 'host' || text === 'none') return { mode: text };
  const container = /^container:(.+)$/.exec(text)?.[1];
  return container === undefined ? undefined : { mode: 'container', container };
}

function checkJoin({ network }: NetworkJoin, mode: string): void {
  if (mode !== '' || nodeMode(network) !== undefined) {
    throw new HatobaError(
      'invalid-argument',
      `a container cannot be on "${mode === '' ? network : mode}" and on networks of the cluster: name networks of the cluster alone`,
    );
  }
}

/** The sandbox of a container of this node alone; those of tasks have the task's own id. */
export function localSandboxId(containerId: string): string {
  return `${SANDBOX_PREFIX}${containerId}`;
}

/** The container of a sandbox; undefined for that of a task. */
export function containerOfSandbox(sandboxId: string): string | undefined {
  return sandboxId.startsWith(SANDBOX_PREFIX) ? sandboxId.slice(SANDBOX_PREFIX.length) : undefined;
}
