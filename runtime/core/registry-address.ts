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

/**
 * Reads the first challenge of a WWW-Authenticate header:
 * `Bearer realm="https://auth.example/token",service="registry",scope="repository:web:pull"`.
 * @returns undefined when there is none
 * @see RFC 9110, section 11.6.1
 */
export function parseAuthChallenge(header: string): AuthChallenge | undefined {
  const scheme = /^\s*([A-Za-z][A-Za-z0-9-]*)/.exec(header)?.[1];
  if (scheme === undefined) return undefined;
  const parameters: Record<string, string> = {};
  const pair = /([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g;
  for (const [, key, quoted, plain] of header.slice(scheme.length).matchAll(pair)) {
    if (key === undefined) continue;
    parameters[key.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '';
  }
  return { scheme: scheme.toLowerCase(), parameters };
}
