import { HatobaError } from '../../common/errors.js';
import type { ContainerSpec } from '../../proto/gen/hatoba/v1/types.js';
import type { OciNamespace } from './oci-spec.js';

/** Whose namespace a container is in: one of its own, the machine's, or another container's. */
export type NamespaceMode = 'own' | 'host' | JoinMode;
export interface JoinMode {
  /** Id or name of the other container. */
  container: string;
}

/** What a container was asked to share, checked. */
export interface NamespaceModes {
  pid: NamespaceMode;
  /** none: its own, without /dev/shm; shareable: its own, which others may join. */
  ipc: NamespaceMode | 'none' | 'shareable';
  uts: 'own' | 'host';
  cgroup: 'own' | 'host';
  network: NamespaceMode;
}

/** The kinds that can be another container's. */
export const JOINABLE = ['pid', 'ipc', 'network'] as const;
export type Joinable = (typeof JOINABLE)[number];

/**
 * @param netns a namespace file its caller made, "host", or "container:ID"
 * @throws {HatobaError} invalid-argument for an unknown mode, or one that contradicts another wish
 */
export function parseNamespaceModes(
  spec: Pick<
    ContainerSpec,
    'pidMode' | 'ipcMode' | 'utsMode' | 'cgroupnsMode' | 'privileged' | 'hostname' | 'domainname'
  >,
  netns: string,
): NamespaceModes {
  const uts = parseSimple('uts', spec.utsMode);
  if (uts === 'host' && (spec.hostname !== '' || spec.domainname !== '')) {
    refuse("a container on the host's uts namespace cannot have a hostname or domainname");
  }
  const ipc =
    spec.ipcMode === 'none' || spec.ipcMode === 'shareable'
      ? spec.ipcMode
      : parseMode('ipc', spec.ipcMode, ', none, shareable');
  // A privileged container sees the host's cgroup tree, as in Docker: it may run an engine itself.
  const cgroup =
    spec.cgroupnsMode === '' && spec.privileged ? 'host' : parseSimple('cgroup', spec.cgroupnsMode);
  const network = netns.startsWith('/') ? 'own' : parseMode('network', netns, '');
  return { pid: parseMode('pid', spec.pidMode, ''), ipc, uts, cgroup, network };
}

/** The other containers whose namespaces a container joins. */
export function joinedContainers(
  modes: NamespaceModes,
): readonly (JoinMode & { kind: Joinable })[] {
  return JOINABLE.flatMap((kind) => {
    const mode = modes[kind];
    return typeof mode === 'object' ? [{ kind, container: mode.container }] : [];
  });
}

/**
 * The namespaces of a container as the OCI runtime takes them.
 * @param paths namespace files: of the network its caller made, and of what it joins
 */
export function planNamespaces(
  modes: NamespaceModes,
  paths: Readonly<Partial<Record<Joinable, string>>>,
): readonly OciNamespace[] {
  const joinable = JOINABLE.flatMap((type): OciNamespace[] => {
    if (modes[type] === 'host') return [];
    const path = paths[type];
    return [{ type, ...(path !== undefined && { path }) }];
  });
  const simple = (['uts', 'cgroup'] as const).flatMap((type): OciNamespace[] =>
    modes[type] === 'host' ? [] : [{ type }],
  );
  return [{ type: 'mount' }, ...joinable, ...simple];
}

function parseMode(what: string, text: string, others: string): NamespaceMode {
  if (text.startsWith('container:')) {
    const container = text.slice('container:'.length);
    if (container === '') refuse(`${what} mode "${text}" names no container`);
    return { container };
  }
  if (text === 'host') return 'host';
  if (text === '' || text === 'private') return 'own';
  return refuse(
    `${what} mode "${text}" is unknown; there are private, host, container:ID${others}`,
  );
}

function parseSimple(what: string, text: string): 'own' | 'host' {
  if (text === 'host') return 'host';
  if (text === '' || text === 'private') return 'own';
  return refuse(`${what} mode "${text}" is unknown; there are private and host`);
}

function refuse(message: string): never {
  throw new HatobaError('invalid-argument', message);
}
