import { HatobaError } from '../../common/errors.js';
import { isDigest, type Digest } from './digest.js';

/**
 * A parsed image reference in Docker's grammar, complete: "nginx" is docker.io/library/nginx:latest.
 * At least one of tag and digest is there; the digest decides where both are.
 * @see https://github.com/distribution/reference
 */
export interface ImageReference {
  /** Host with optional port as written: "docker.io", "127.0.0.1:5000", "[::1]:5000". */
  readonly registry: string;
  /** Path at the registry: "library/nginx". */
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

/** The registry of references that name none. */
export const DEFAULT_REGISTRY = 'docker.io';
const OFFICIAL = 'library/';
const MAX_NAME_CHARS = 255;

const HOST = String.raw`[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?`;
const REGISTRY = new RegExp(String.raw`^(?:${HOST}(?:\.${HOST})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$`);
const COMPONENT = String.raw`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`;
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const IMAGE_ID = /^[0-9a-f]{64}$/;
const TAG = /^\w[\w.-]{0,127}$/;

/**
 * Parses "[registry/]repository[:tag][@digest]".
 * @throws {HatobaError} invalid-argument naming the reference and the part that is wrong
 */
export function parseImageReference(text: string): ImageReference {
  const [rest, digest] = splitDigest(text);
  const [name, tag] = splitTag(text, rest);
  const { registry, repository } = splitRegistry(name);
  if (!REGISTRY.test(registry))
    throw wrong(text, `"${registry}" is not a registry's host and port`);
  if (!REPOSITORY.test(repository)) throw wrong(text, repositoryMistake(repository));
  if (`${registry}/${repository}`.length > MAX_NAME_CHARS) {
    throw wrong(text, `its name is longer than ${MAX_NAME_CHARS} characters`);
  }
  if (IMAGE_ID.test(name)) {
    throw wrong(text, 'a name of 64 hexadecimal digits would be taken for an image id');
  }
  return {
    registry,
    repository,
    tag: tag ?? (digest === undefined ? 'latest' : undefined),
    digest,
  };
}

/** "docker.io/library/nginx:1.27@sha256:…": every part written out; parses to the same reference. */
export function formatReference(reference: ImageReference): string {
  return `${reference.registry}/${reference.repository}${suffix(reference)}`;
}

/** What people write and read: without the default registry and "library/". */
export function familiarReference(reference: ImageReference): string {
  return familiarName(reference) + suffix(reference);
}

/** The familiar name without tag and digest: "nginx", "127.0.0.1:5000/web". */
export function familiarName({ registry, repository }: ImageReference): string {
  if (registry !== DEFAULT_REGISTRY || looksLikeHost(repository))
    return `${registry}/${repository}`;
  const short = repository.startsWith(OFFICIAL) ? repository.slice(OFFICIAL.length) : repository;
  // what would read as another name keeps its first part
  return short.includes('/') || IMAGE_ID.test(short) ? repository : short;
}

/** The key of the local image index: without the tag when a digest decides. */
export function referenceKey(reference: ImageReference): string {
  return formatReference(
    reference.digest === undefined ? reference : { ...reference, tag: undefined },
  );
}

function suffix({ tag, digest }: ImageReference): string {
  return (tag === undefined ? '' : `:${tag}`) + (digest === undefined ? '' : `@${digest}`);
}

function splitDigest(text: string): [string, Digest | undefined] {
  const at = text.indexOf('@');
  if (at === -1) return [text, undefined];
  const digest = text.slice(at + 1);
  if (!isDigest(digest)) {
    throw wrong(text, `"${digest}" is not a digest like sha256: and 64 hexadecimal digits`);
  }
  return [text.slice(0, at), digest];
}

function splitTag(text: string, rest: string): [string, string | undefined] {
  const colon = rest.lastIndexOf(':');
  // a colon before the last slash belongs to the registry's port
  if (colon === -1 || rest.includes('/', colon)) return [rest, undefined];
  const tag = rest.slice(colon + 1);
  if (!TAG.test(tag)) {
    throw wrong(text, `"${tag}" is not a tag (letters, digits, "_", "." and "-", at most 128)`);
  }
  return [rest.slice(0, colon), tag];
}

function splitRegistry(name: string): { registry: string; repository: string } {
  if (!looksLikeHost(name)) return official(name);
  const slash = name.indexOf('/');
  const [first, rest] = [name.slice(0, slash), name.slice(slash + 1)];
  if (first === DEFAULT_REGISTRY || first === 'index.docker.io') return official(rest);
  return { registry: first, repository: rest };
}

/** Docker's rule: whether the first part is a registry, not the name of a user. */
function looksLikeHost(name: string): boolean {
  const slash = name.indexOf('/');
  const first = name.slice(0, slash);
  return (
    slash > 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())
  );
}

function official(name: string): { registry: string; repository: string } {
  return {
    registry: DEFAULT_REGISTRY,
    repository: name.includes('/') ? name : OFFICIAL + name,
  };
}

function repositoryMistake(repository: string): string {
  if (repository === '' || repository === OFFICIAL) return 'it has no name';
  if (repository !== repository.toLowerCase()) return 'the repository must be in lower case';
  return `"${repository}" is not a repository (lower-case letters and digits, separated by ".", "_", "__", "-" or "/")`;
}

function wrong(text: string, why: string): HatobaError {
  return new HatobaError('invalid-argument', `image reference "${text}": ${why}`);
}
