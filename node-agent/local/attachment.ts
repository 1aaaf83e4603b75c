import { HatobaError } from '../../common/errors.js';
import type { PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig } from '../../runtime/engine.js';

/**
 * What a container of this node alone is connected to. It is kept with the container, for as long
 * as that is there: an address is taken while a container has it, and nothing else says so.
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
  | { readonly mode: 'host' | 'none' }
  /** The network namespace of another container. */
  | { readonly mode: 'container'; readonly id: string };

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

/** As it was asked for: "bridge", "host", "none", "container:ID". */
export function networkMode(attachment: Attachment): string {
  return attachment.mode === 'container' ? `container:${attachment.id}` : attachment.mode;
}

/** What a network mode asks for. @throws {HatobaError} invalid-argument */
export function parseNetworkMode(
  text: string,
): { mode: 'bridge' | 'host' | 'none' } | { mode: 'container'; container: string } {
  if (text === '' || text === 'default') return { mode: 'bridge' };
  if (text === 'bridge' || text === 'host' || text === 'none') return { mode: text };
  const container = /^container:(.+)$/.exec(text)?.[1];
  if (container !== undefined) return { mode: 'container', container };
  throw new HatobaError(
    'invalid-argument',
    `network "${text}" cannot be used by a container of one node: use bridge, host, none or container:NAME, or run a service on it`,
  );
}

/** The sandbox of a container of this node alone; those of tasks have the task's own id. */
export function localSandboxId(containerId: string): string {
  return `${SANDBOX_PREFIX}${containerId}`;
}

/** The container of a sandbox; undefined for that of a task. */
export function containerOfSandbox(sandboxId: string): string | undefined {
  return sandboxId.startsWith(SANDBOX_PREFIX) ? sandboxId.slice(SANDBOX_PREFIX.length) : undefined;
}
