import { createHash } from 'node:crypto';
import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { HatobaError, describeError, isRetryable, kindOf } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import { parseContentRange } from '../core/content-range.js';
import { digestOfHex, isDigest, type Digest } from '../core/digest.js';
import { familiarName, familiarReference, type ImageReference } from '../core/image-ref.js';
import { MAX_MANIFEST_BYTES, MEDIA_TYPES, type Descriptor } from '../core/manifest.js';
import { registryEndpoints, type RegistryEndpoint } from '../core/registry-address.js';
import type { RegistryAuth as Credentials } from '../engine.js';
import type { CredentialsSource } from './credentials-source.js';
import { RegistryAuth, type Access } from './registry-auth.js';
import { retryAfterOf } from './registry-error.js';
import { RegistryHttp, withPurpose, type Purpose } from './registry-http.js';
import { RegistryTransport, type HttpAnswer } from './registry-transport.js';

export interface RegistryClientModules {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly random: Random;
  /** Hosts, hosts with port, or IPv4 networks that are spoken to without TLS. */
  readonly insecureRegistries: readonly string[];
  /** Registry → addresses asked before it. */
  readonly mirrors?: Readonly<Record<string, readonly string[]>>;
  /** For calls that bring none of their own. */
  readonly credentials?: CredentialsSource;
}

export interface RegistryCall {
  readonly signal: AbortSignal;
  /** For the registry of the reference; its mirrors are shown those of the engine alone. */
  readonly auth?: Credentials;
}

export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  /** Of the bytes; checked against the one asked for. */
  readonly digest: Digest;
}

const ATTEMPTS = 4;
const BACKOFF = { baseMs: 500, maxMs: 5000 };
/** Who is told to come back later than this is better told so than kept waiting. */
const MAX_WAIT_MS = 60_000;
/** A transfer that got on by this much before it broke off may break off again. */
const PROGRESS_BYTES = 64 * 1024;
/** A mirror that was not reachable is asked last for so long. */
const MIRROR_REST_MS = 60_000;
const MANIFEST_TYPES = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
].join(', ');

/**
 * Reads images from registries and their mirrors (the distribution API, version 2).
 * 1. Mirrors are asked once each, in their order; then the registry. Its error tells of all.
 * 2. What may pass (no connection, 429, 5xx, damaged transfer) is tried four times at the registry,
 *    with growing pauses, or those it asks for; a blob goes on where it broke off. Errors name image and registry.
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
export class RegistryClient {
  readonly http: RegistryHttp;
  readonly auth: RegistryAuth;
  readonly #modules: RegistryClientModules;
  readonly #restUntilMs = new Map<string, number>();

  constructor(modules: RegistryClientModules) {
    const { clock, insecureRegistries } = modules;
    const transport = new RegistryTransport(modules);
    this.#modules = modules;
    this.auth = new RegistryAuth({ transport, clock, insecureRegistries });
    this.http = new RegistryHttp({ transport, auth: this.auth, clock });
  }

  /**
   * Fetches a manifest or an index by the reference's own tag or digest, or by another digest of
   * the same repository.
   * @throws {HatobaError} not-found | unauthenticated | permission-denied | unavailable | deadline
   */
  async manifest(
    reference: ImageReference,
    digest: Digest | undefined,
    call: RegistryCall,
  ): Promise<FetchedManifest> {
    const wanted = digest ?? reference.digest;
    const path = `${reference.repository}/manifests/${wanted ?? reference.tag ?? 'latest'}`;
    const request = { method: 'GET', path, headers: { Accept: MANIFEST_TYPES } } as const;
    const purpose: Purpose = { subject: `image "${familiarReference(reference)}"`, deed: 'pulled' };
    const failures: unknown[] = [];
    for (const endpoint of this.#endpoints(reference.registry)) {
      const fetchOnce = async (): Promise<FetchedManifest> => {
        const access = await this.access(endpoint, reference, call.auth, 'pull');
        const answer = await this.http.send(access, request, purpose, call.signal);
        try {
          return checkManifest(answer, await answer.read(MAX_MANIFEST_BYTES), wanted);
        } catch (error) {
          call.signal.throwIfAborted();
          throw withPurpose(error, purpose);
        } finally {
          await answer.close();
        }
      };
      try {
        return endpoint.isMirror ? await fetchOnce() : await this.retry(call.signal, fetchOnce);
      } catch (error) {
        call.signal.throwIfAborted();
        failures.push(error);
        this.#noteFailure(endpoint, error);
      }
    }
    throw ofAll(failures, purpose);
  }

  /**
   * The bytes of a blob from `startAt` on. A stream that breaks off is taken up where it did.
   * Whoever reads checks the digest.
   * @throws {HatobaError} as manifest()
   */
  async *blob(
    reference: ImageReference,
    descriptor: Descriptor,
    startAt: number,
    call: RegistryCall,
  ): AsyncGenerator<Uint8Array> {
    const subject = `image "${familiarName(reference)}": blob ${descriptor.digest}`;
    const purpose: Purpose = { subject, deed: 'pulled' };
    const failures: unknown[] = [];
    const endpoints = [...this.#endpoints(reference.registry)];
    let position = startAt;
    for (let attempt = 1; position < descriptor.sizeBytes || startAt === 0;) {
      const endpoint = endpoints[0];
      if (endpoint === undefined) throw ofAll(failures, purpose);
      const before = position;
      try {
        const access = await this.access(endpoint, reference, call.auth, 'pull');
        const part = this.#blobPart(
          access,
          reference,
          { descriptor, position, purpose },
          call.signal,
        );
        for await (const chunk of part) {
          position += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        call.signal.throwIfAborted();
        if (position - before >= PROGRESS_BYTES) attempt = 1;
        if (endpoint.isMirror || attempt >= ATTEMPTS || !this.mayPass(error)) {
          failures.push(error);
          this.#noteFailure(endpoint, error);
          endpoints.shift();
          continue;
        }
        await this.pause(error, attempt++, call.signal);
      }
    }
  }

  /**
   * Shows credentials to a registry.
   * @returns an identity token where it gave one
   * @throws {HatobaError} unauthenticated | unavailable | deadline
   */
  async login(registry: string, auth: Credentials, signal: AbortSignal): Promise<string> {
    const endpoint = this.origin(registry);
    const access: Access = { endpoint, credentials: auth, scopes: [] };
    const purpose: Purpose = { subject: `login at ${registry}`, deed: 'taken' };
    this.auth.forget(access); // a password that was changed is asked about anew
    await this.retry(signal, async () => {
      const answer = await this.http.send(access, { method: 'GET', path: '' }, purpose, signal);
      await answer.close();
    });
    return this.auth.identityToken(access);
  }

  /** The registry itself, without its mirrors. */
  origin(registry: string): RegistryEndpoint {
    const [endpoint] = registryEndpoints(registry, this.#modules.insecureRegistries);
    if (endpoint === undefined) throw new Error('a registry has an endpoint');
    return endpoint;
  }

  /** @param auth of the caller, for the registry of the reference and not for a mirror */
  async access(
    endpoint: RegistryEndpoint,
    reference: ImageReference,
    auth: Credentials | undefined,
    actions: 'pull' | 'pull,push',
  ): Promise<Access> {
    const isGiven = auth !== undefined && (auth.username !== '' || auth.identityToken !== '');
    const own = isGiven && !endpoint.isMirror ? auth : undefined;
    const credentials = own ?? (await this.#modules.credentials?.(endpoint.host));
    return { endpoint, credentials, scopes: [`repository:${reference.repository}:${actions}`] };
  }

  /** Tries what may pass again, with growing pauses. */
  async retry<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    for (let n = 1; ; n++) {
      try {
        return await attempt();
      } catch (error) {
        signal.throwIfAborted();
        if (n >= ATTEMPTS || !this.mayPass(error)) throw error;
        await this.pause(error, n, signal);
      }
    }
  }

  /** Whether another attempt makes sense, as far as the error tells. */
  mayPass(error: unknown): boolean {
    return isRetryable(error) && retryAfterOf(error) <= MAX_WAIT_MS;
  }

  /**
   * The wait before another attempt, at least as long as the registry asked for.
   * @param attempt how many have failed
   */
  async pause(error: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#modules;
    const ownMs = backoffMs(attempt, BACKOFF, random);
    await sleep(clock, Math.max(ownMs, retryAfterOf(error)), signal);
  }

  /** One answer's worth of a blob, from `position` on and no byte beyond its end. */
  async *#blobPart(
    access: Access,
    reference: ImageReference,
    want: { descriptor: Descriptor; position: number; purpose: Purpose },
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const { descriptor, position, purpose } = want;
    const path = `${reference.repository}/blobs/${descriptor.digest}`;
    const headers = position === 0 ? {} : { Range: `bytes=${position}-` };
    const answer = await this.http.send(access, { method: 'GET', path, headers }, purpose, signal);
    try {
      let skip = bytesToSkip(answer, descriptor, position);
      let at = position - skip;
      for await (const chunk of answer.body()) {
        at += chunk.length;
        if (at > descriptor.sizeBytes) {
          const text = `it goes on after the ${descriptor.sizeBytes} bytes it should have`;
          throw new HatobaError('unavailable', text);
        }
        const rest = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - rest.length;
        if (rest.length > 0) yield rest;
      }
      if (at < descriptor.sizeBytes) {
        const text = `it ended after ${at} of ${descriptor.sizeBytes} bytes`;
        throw new HatobaError('unavailable', text);
      }
    } catch (error) {
      signal.throwIfAborted();
      throw withPurpose(error, purpose);
    } finally {
      await answer.close();
    }
  }

  #endpoints(registry: string): readonly RegistryEndpoint[] {
    const { insecureRegistries, mirrors = {}, clock } = this.#modules;
    const all = registryEndpoints(registry, insecureRegistries, mirrors[registry] ?? []);
    const rests = ({ baseUrl, isMirror }: RegistryEndpoint): boolean =>
      isMirror && (this.#restUntilMs.get(baseUrl) ?? 0) > clock.nowMs();
    return all.filter((endpoint) => !rests(endpoint));
  }

  #noteFailure({ baseUrl, isMirror }: RegistryEndpoint, error: unknown): void {
    if (!isMirror || !isRetryable(error)) return;
    this.#restUntilMs.set(baseUrl, this.#modules.clock.nowMs() + MIRROR_REST_MS);
  }
}

function checkManifest(
  answer: HttpAnswer,
  bytes: Uint8Array,
  wanted: Digest | undefined,
): FetchedManifest {
  const found = digestOfHex(createHash('sha256').update(bytes).digest('hex'));
  const claimed = wanted ?? answer.headers.get('docker-content-digest') ?? found;
  if (isDigest(claimed) && claimed !== found) {
    throw new HatobaError('unavailable', `manifest ${claimed} arrived as ${found}`);
  }
  const type = answer.headers.get('content-type') ?? '';
  return { bytes, mediaType: type.split(';')[0]?.trim() ?? '', digest: found };
}

/** How many bytes of an answer are known already: a server may answer a range with the whole. */
function bytesToSkip(answer: HttpAnswer, descriptor: Descriptor, position: number): number {
  if (answer.status !== 206) return position;
  const header = answer.headers.get('content-range') ?? '';
  const range = parseContentRange(header);
  const isRight =
    range?.start === position &&
    (range.totalBytes ?? descriptor.sizeBytes) === descriptor.sizeBytes;
  if (isRight) return 0;
  const text = `asked for bytes from ${position} of ${descriptor.sizeBytes}, the registry answered with "${header}"`;
  throw new HatobaError('unavailable', text);
}

/** The last error is the registry's own, and decides; what its mirrors said stands behind it. */
function ofAll(failures: readonly unknown[], purpose: Purpose): unknown {
  const last = failures.at(-1);
  if (failures.length < 2) return last;
  const mirrors = failures.slice(0, -1).map((error) => {
    const text = describeError(error);
    return text.startsWith(purpose.subject) ? text.slice(purpose.subject.length).trim() : text;
  });
  const message = `${describeError(last)}; before it, of its mirrors: ${mirrors.join('; ')}`;
  return new HatobaError(kindOf(last), message, { cause: last });
}
