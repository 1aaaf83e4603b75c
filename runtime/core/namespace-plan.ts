import type { OciNamespace } from './oci-spec.js';

/**
 * The namespaces of a container: new ones of its own, and the network its caller made.
 * @param options.netns a namespace file, or "host" for none of its own
 */
export function planNamespaces(options: {
  netns: string;
  privileged: boolean;
}): readonly OciNamespace[] {
  const namespaces: OciNamespace[] = [
    { type: 'pid' },
    { type: 'mount' },
    { type: 'uts' },
    { type: 'ipc' },
  ];
  // A privileged container sees the host's cgroup tree, as in Docker: it may run an engine itself.
  if (!options.privileged) namespaces.push({ type: 'cgroup' });
  if (options.netns !== 'host') namespaces.push({ type: 'network', path: options.netns });
  return namespaces;
}
