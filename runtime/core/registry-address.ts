import { DEFAULT_REGISTRY } from './image-ref.js';

/** docker.io is a name; its registry answers at another host. */
const DOCKER_HUB_HOST = 'registry-1.docker.io';

/**
 * The base URL of a registry's API: plain HTTP on loopback and where named insecure, else HTTPS.
 * @param registry as in an image reference: "docker.io", "10.0.0.1:5000"
 * @param insecureRegistries hosts, hosts with port, or IPv4 networks like "10.0.0.0/8"
 */
export function registryBaseUrl(registry: string, insecureRegistries: readonly string[]): string {
  const host = registry === DEFAULT_REGISTRY ? DOCKER_HUB_HOST : registry;
  return `${isPlainHttp(registry, insecureRegistries) ? 'http' : 'https'}://${host}`;
}

/** Whether a registry is spoken to without TLS. */
export function isPlainHttp(registry: string, insecureRegistries: readonly string[]): boolean {
  const host = registry.replace(/:\d+$/, '');
  if (host === 'localhost' || host === '[::1]') return true;
  const address = parseIpv4(host);
  if (address !== undefined && contains('127.0.0.0/8', address)) return true;
  return insecureRegistries.some(
    (named) =>
      named === registry ||
      named === host ||
      (address !== undefined && named.includes('/') && contains(named, address)),
  );
}

function contains(network: string, address: number): boolean {
  const [base = '', prefix = ''] = network.split('/');
  const first = parseIpv4(base);
  const bits = /^\d{1,2}$/.test(prefix) ? Number(prefix) : -1;
  if (first === undefined || bits < 0 || bits > 32) return false;
  const size = 2 ** (32 - bits);
  return Math.floor(first / size) === Math.floor(address / size);
}

function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}

/** How a registry wants its callers to prove who they are. */
export interface AuthChallenge {
  /** In lower case: "bearer", "basic". */
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** More is no header, but an attack. */
const MAX_CHALLENGE_CHARS = 8192;

/**
 * Reads the challenges of a WWW-Authenticate header, which may hold several:
 * `Basic realm="x", Bearer realm="https://auth.example/token",service="registry"`.
 * @returns in the order they came; what cannot be read ends the list
 * @see RFC 9110, section 11.6.1
 */
export function parseAuthChallenges(header: string): AuthChallenge[] {
  const found: { scheme: string; parameters: Record<string, string> }[] = [];
  const text = header.slice(0, MAX_CHALLENGE_CHARS);
  const token = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
  // a scheme, a parameter in quotes or without, or the commas between them
  const part = new RegExp(
    `[\\s,]*(?:(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]+))|(${token})(?=[\\s,]|$))`,
    'y',
  );
  for (let match = part.exec(text); match !== null; match = part.exec(text)) {
    const [, key, quoted, plain, scheme] = match;
    if (scheme !== undefined) found.push({ scheme: scheme.toLowerCase(), parameters: {} });
    else if (key !== undefined) {
      const last = found.at(-1);
      if (last === undefined) return [];
      last.parameters[key.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '';
    }
  }
  return found;
}

/** Where the content of a registry can be had: the registry itself, or a mirror of it. */
export interface RegistryEndpoint {
  /** "https://registry-1.docker.io", without a slash at its end. */
  readonly baseUrl: string;
  /** Whose credentials are meant for it: "docker.io", "10.0.0.5:5000". */
  readonly host: string;
  readonly isMirror: boolean;
}

/**
 * Where to ask for an image, in order: the mirrors of its registry, then the registry.
 * @param mirrors of the registry: "http://10.0.0.5:5000", or a host, of which the rules for
 *   registries decide whether TLS is spoken
 */
export function registryEndpoints(
  registry: string,
  insecureRegistries: readonly string[],
  mirrors: readonly string[] = [],
): readonly RegistryEndpoint[] {
  const origin = { baseUrl: registryBaseUrl(registry, insecureRegistries), host: registry };
  return [
    ...mirrors.map((mirror) => {
      const host = mirror.replace(/^https?:\/\//i, '').replace(/\/.*$/, '');
      const baseUrl = /^https?:/i.test(mirror)
        ? mirror.replace(/\/+$/, '')
        : registryBaseUrl(mirror, insecureRegistries);
      return { baseUrl, host, isMirror: true };
    }),
    { ...origin, isMirror: false },
  ];
}
