import { HatobaError } from './errors.js';

/** Who somebody is at a registry: a name and a password, or a token that stands for both. */
export interface RegistryCredentials {
  username: string;
  password: string;
  /** Wins where it is not empty. */
  identityToken: string;
}

/**
 * A credentials file in the format of docker's config.json, with whatever else is in it:
 * `{"auths": {"r.example:5000": {"auth": "<base64 of name:password>"}}, "credHelpers": {"gcr.io":
 * "gcloud"}, "credsStore": "pass"}`.
 */
export type CredentialsFile = Readonly<Record<string, unknown>>;

/** Under which docker.io is written, as by docker. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';
const DOCKER_HUB_HOSTS = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::\d{1,5})?$/;

/**
 * The registry an address means, as image references write it: "https://R.example/v2/" is
 * "r.example"; empty and every address of Docker Hub are "docker.io".
 * @throws {HatobaError} invalid-argument for what is no host with optional port
 */
export function registryOfServer(server: string): string {
  const host = hostOf(server === '' ? DOCKER_HUB_KEY : server);
  if (HOST.test(host)) return host;
  throw new HatobaError(
    'invalid-argument',
    `"${server}" is no registry: a host with optional port is expected, like "r.example:5000"`,
  );
}

/**
 * The registry of an image reference, by Docker's rule: the first part, where it looks like a host.
 * "nginx" and "team/web" are at docker.io, "127.0.0.1:5000/web:1" is at 127.0.0.1:5000.
 */
export function registryOfReference(reference: string): string {
  const slash = reference.indexOf('/');
  const first = reference.slice(0, Math.max(0, slash));
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  return registryOfServer(isHost ? first : '');
}

/** @throws {HatobaError} invalid-argument when the text is no JSON object of this form */
export function parseCredentialsFile(text: string, path: string): CredentialsFile {
  const file = asRecord(parseJson(text, path));
  if (file === undefined) throw damaged(path, 'is not a JSON object');
  for (const name of ['auths', 'credHelpers']) {
    const value = file[name] ?? {};
    if (asRecord(value) === undefined) throw damaged(path, `"${name}" is not an object`);
  }
  return file;
}

/**
 * The credentials a file itself has for a registry.
 * @param registry as registryOfServer gives it
 * @throws {HatobaError} invalid-argument when its entry cannot be read
 */
export function findCredentials(
  file: CredentialsFile,
  registry: string,
  path: string,
): RegistryCredentials | undefined {
  const auths = asRecord(file['auths']) ?? {};
  const key = keysOf(auths, registry)[0];
  if (key === undefined) return undefined;
  const entry = asRecord(auths[key]);
  if (entry === undefined) throw damaged(path, `the entry "${key}" is not an object`);
  return decodeEntry(entry, `${path}: the entry "${key}"`);
}

/** The helper program ("pass" for docker-credential-pass) that a file names for a registry. */
export function credentialHelper(file: CredentialsFile, registry: string): string | undefined {
  const helpers = asRecord(file['credHelpers']) ?? {};
  const key = keysOf(helpers, registry)[0];
  const helper = key === undefined ? file['credsStore'] : helpers[key];
  return typeof helper === 'string' && helper !== '' ? helper : undefined;
}

/** The file with credentials for a registry, in place of those it had. */
export function withCredentials(
  file: CredentialsFile,
  registry: string,
  credentials: RegistryCredentials,
): CredentialsFile {
  const { username, password, identityToken } = credentials;
  const auth = Buffer.from(`${username}:${identityToken === '' ? password : ''}`);
  const entry = {
    auth: auth.toString('base64'),
    ...(identityToken === '' ? {} : { identitytoken: identityToken }),
  };
  const auths = asRecord(withoutCredentials(file, registry)['auths']) ?? {};
  return { ...file, auths: { ...auths, [serverKey(registry)]: entry } };
}

/** The file without credentials for a registry. */
export function withoutCredentials(file: CredentialsFile, registry: string): CredentialsFile {
  const auths = asRecord(file['auths']) ?? {};
  const own = new Set(keysOf(auths, registry));
  const others = Object.entries(auths).filter(([key]) => !own.has(key));
  return { ...file, auths: Object.fromEntries(others) };
}

/** What a helper program and docker's files call a registry. */
export function serverKey(registry: string): string {
  return registry === 'docker.io' ? DOCKER_HUB_KEY : registry;
}

/** Keys that mean a registry, the one that is its plain name first. */
function keysOf(entries: Readonly<Record<string, unknown>>, registry: string): string[] {
  const keys = Object.keys(entries).filter((key) => hostOf(key) === registry);
  return keys.sort((a, b) => Number(b === registry) - Number(a === registry));
}

function hostOf(server: string): string {
  const host =
    server
      .trim()
      .toLowerCase()
      .replace(/^https?:\/\//, '')
      .split('/')[0] ?? '';
  return DOCKER_HUB_HOSTS.includes(host) ? 'docker.io' : host;
}

function decodeEntry(
  entry: Readonly<Record<string, unknown>>,
  what: string,
): RegistryCredentials | undefined {
  const text = (name: string): string => {
    const value = entry[name] ?? '';
    if (typeof value === 'string') return value;
    throw new HatobaError('invalid-argument', `${what}: "${name}" is not a text`);
  };
  const [username, password] = decodeAuth(text('auth'), what) ?? [
    text('username'),
    text('password'),
  ];
  const identityToken = text('identitytoken');
  // docker leaves empty entries for registries whose credentials a helper has
  if (username === '' && identityToken === '') return undefined;
  return { username, password, identityToken };
}

function decodeAuth(auth: string, what: string): [string, string] | undefined {
  if (auth === '') return undefined;
  const decoded = Buffer.from(auth, 'base64').toString();
  const colon = decoded.indexOf(':');
  if (colon > 0) return [decoded.slice(0, colon), decoded.slice(colon + 1).replace(/\0+$/, '')];
  throw new HatobaError('invalid-argument', `${what}: "auth" is not base64 of name:password`);
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // what JSON.parse throws quotes the text, and that is secret
    throw damaged(path, 'is not JSON');
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isRecord ? (value as Readonly<Record<string, unknown>>) : undefined;
}

function damaged(path: string, why: string): HatobaError {
  return new HatobaError('invalid-argument', `credentials file ${path}: ${why}`);
}
