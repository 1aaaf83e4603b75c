import { isIP } from 'node:net';
import { HatobaError } from '../../common/errors.js';
import type { SandboxConfig } from '../../overlay-net/driver.js';
import type { DNSConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig } from '../../runtime/engine.js';

/**
 * The part of a sandbox that is about names: servers of the user take the place of the host's for
 * names that no network knows, and are asked by this node.
 * @throws {HatobaError} invalid-argument for a server that is no address
 */
export function toSandboxDns(own: DNSConfig | undefined): Pick<SandboxConfig, 'dns'> {
  const nameservers = own?.nameservers ?? [];
  for (const address of nameservers) {
    if (isIP(address) !== 0) continue;
    throw new HatobaError(
      'invalid-argument',
      `DNS server "${address}" is not an IP address: servers are given as addresses, for example 192.0.2.53`,
    );
  }
  const upstreams = nameservers.filter((address) => !isLoopback(address));
  return upstreams.length === 0 ? {} : { dns: { upstreams } };
}

/**
 * What a container's resolv.conf says: it asks the gateways of its networks, which know their names
 * and pass on other questions. A server at a loopback address is one inside the container, so the
 * container itself asks it, first.
 * @param gateways none: the container is on no network of ours, and asks its servers itself
 */
export function containerDns(
  own: DNSConfig | undefined,
  gateways: readonly string[],
): ContainerConfig['dns'] {
  const { nameservers = [], search = [], options = [] } = own ?? {};
  if (gateways.length === 0) return { nameservers, search, options };
  return {
    nameservers: [...nameservers.filter(isLoopback), ...gateways],
    search,
    options: withNdots(options),
  };
}

/** Names of services have no dot: they are asked for as they are, before search domains, which may
 *  know others of the same name and are slower to say so. As with Docker. */
function withNdots(options: readonly string[]): readonly string[] {
  return options.some((option) => option.startsWith('ndots:')) ? options : [...options, 'ndots:0'];
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
