import { HatobaError } from '../../common/errors.js';
import type { HealthConfig } from '../../proto/gen/hatoba/v1/types.js';
import { toDigest, type Digest } from './digest.js';
import {
  asArray,
  asObject,
  asString,
  optionalCount,
  optionalObject,
  optionalString,
  optionalStrings,
  optionalTexts,
  parseJson,
} from './json-fields.js';

/** What an image says of the containers made from it (the OCI image configuration, checked). */
export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  /** Empty when the image gives none; the same holds for every list and text here. */
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** "NAME=value" */
  readonly env: readonly string[];
  readonly workingDir: string;
  /** "uid[:gid]" or names of the image's own passwd file. */
  readonly user: string;
  /** "80/tcp", sorted. */
  readonly exposedPorts: readonly string[];
  /** Paths that become anonymous volumes, sorted. */
  readonly volumes: readonly string[];
  /** "SIGQUIT", "3" or empty. */
  readonly stopSignal: string;
  readonly healthcheck: HealthConfig | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** A whole configuration blob: what containers need and what the image is made of. */
export interface ImageConfigBlob {
  readonly config: ImageConfig;
  /** Bottom first, one for each layer of the manifest. */
  readonly diffIds: readonly Digest[];
  /** RFC 3339 as the image writes it, unchecked; empty when it does not say. */
  readonly created: string;
}

/** overlayfs stacks at most 500 lower layers, of which one may be that of implied directories. */
export const MAX_LAYERS = 499;
const NANOS_PER_MS = 1_000_000;

/**
 * Reads an OCI or Docker image configuration.
 * @param what names the image in errors
 * @throws {HatobaError} invalid-argument naming the field; failed-precondition for an image of
 *   another operating system
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md
 */
export function parseImageConfig(bytes: Uint8Array, what: string): ImageConfigBlob {
  const doc = asObject(parseJson(bytes, `configuration of ${what}`), `configuration of ${what}`);
  const os = optionalString(doc['os'], 'os') || 'linux';
  if (os !== 'linux') {
    throw new HatobaError('failed-precondition', `${what} is for ${os}; Hatoba runs linux images`);
  }
  const rootfs = asObject(doc['rootfs'], `configuration of ${what}: rootfs`);
  const diffIds = asArray(rootfs['diff_ids'] ?? [], `${what}: rootfs.diff_ids`, MAX_LAYERS);
  return {
    config: parseConfig(doc, os, what),
    diffIds: diffIds.map((id, i) => toDigest(asString(id, `${what}: rootfs.diff_ids[${i}]`))),
    created: optionalString(doc['created'], `${what}: created`),
  };
}

function parseConfig(
  doc: Readonly<Record<string, unknown>>,
  os: string,
  what: string,
): ImageConfig {
  const at = (name: string): string => `configuration of ${what}: config.${name}`;
  const config = optionalObject(doc['config'], `configuration of ${what}: config`);
  return {
    architecture: optionalString(doc['architecture'], `${what}: architecture`),
    os,
    entrypoint: optionalStrings(config['Entrypoint'], at('Entrypoint')),
    cmd: optionalStrings(config['Cmd'], at('Cmd')),
    env: optionalStrings(config['Env'], at('Env')),
    workingDir: optionalString(config['WorkingDir'], at('WorkingDir')),
    user: optionalString(config['User'], at('User')),
    exposedPorts: Object.keys(optionalObject(config['ExposedPorts'], at('ExposedPorts'))).sort(),
    volumes: Object.keys(optionalObject(config['Volumes'], at('Volumes'))).sort(),
    stopSignal: optionalString(config['StopSignal'], at('StopSignal')),
    healthcheck: parseHealthcheck(config['Healthcheck'], at('Healthcheck')),
    labels: optionalTexts(config['Labels'], at('Labels')),
  };
}

/** Docker writes nanoseconds; an empty Test means "inherit", which at the image's level is none. */
function parseHealthcheck(value: unknown, what: string): HealthConfig | undefined {
  const health = optionalObject(value, what);
  const test = optionalStrings(health['Test'], `${what}.Test`);
  if (test.length === 0) return undefined;
  const ms = (name: string): number =>
    Math.round(optionalCount(health[name], `${what}.${name}`) / NANOS_PER_MS);
  return {
    test,
    intervalMs: ms('Interval'),
    timeoutMs: ms('Timeout'),
    startPeriodMs: ms('StartPeriod'),
    startIntervalMs: ms('StartInterval'),
    retries: optionalCount(health['Retries'], `${what}.Retries`),
  };
}
