import { createHash } from 'node:crypto';
import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { HatobaError, describeError, isRetryable } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import { digestOfHex, isDigest, type Digest } from '../core/digest.js';
import { familiarName, familiarReference, type ImageReference } from '../core/image-ref.js';
import { MAX_MANIFEST_BYTES, MEDIA_TYPES, type Descriptor } from '../core/manifest.js';
import { parseAuthChallenge, registryBaseUrl } from '../core/registry-address.js';
import { Deadline } from './deadline.js';
import { parseRegistryAnswer, registryRefusal } from './registry-error.js';
import { parseToken, tokenUrl, type RegistryToken } from './registry-token.js';

export interface RegistryClientModules {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly random: Random;
  /** Hosts, hosts with port, or IPv4 networks that are spoken to without TLS. */
  readonly insecureRegistries: readonly string[];
}

export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  /** Of the bytes; checked against the one asked for. */
  readonly digest: Digest;
}

interface Request {
  readonly reference: ImageReference;
  /** Below /v2/<repository>/ */
  readonly path: string;
  readonly accept?: string;
  readonly signal: AbortSignal;
}

const IDLE_MS = 30_000;
const ATTEMPTS = 4;
const BACKOFF = { baseMs: 500, maxMs: 5000 };
const MAX_REFUSAL_BYTES = 64 * 1024;
const MANIFEST_TYPES = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
].join(', ');

/**
 * Reads images from registries (the distribution API, version 2).
 * 1. Every wait ends: after 30 s without a byte, or when the caller's signal aborts.
 * 2. Redirects are followed, by `fetch`: without the token to another host; never from HTTPS to HTTP.
 * 3. What may pass (no connection, 429, 5xx, damaged transfer) is tried four times, with growing
 *    pauses; each error names image and registry.
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
export class RegistryClient {
  readonly #modules: RegistryClientModules;
  readonly #tokens = new Map<string, RegistryToken>();

  constructor(modules: RegistryClientModules) {
    this.#modules = modules;
  }

  /**
   * Fetches a manifest or an index by the reference's own tag or digest, or by another digest of
   * the same repository.
   * @throws {HatobaError} not-found | unauthenticated | permission-denied | unavailable | deadline
   */
  async manifest(
    reference: ImageReference,
    digest: Digest | undefined,
    signal: AbortSignal,
  ): Promise<FetchedManifest> {
    const wanted = digest ?? reference.digest;
    const path = `manifests/${wanted ?? reference.tag ?? 'latest'}`;
    const request = { reference, path, accept: MANIFEST_TYPES, signal };
    return await this.#retry(signal, () =>
      this.#exchange(request, async (response, deadline) => {
        const bytes = await readBounded(response, MAX_MANIFEST_BYTES, deadline);
        const found = digestOfHex(createHash('sha256').update(bytes).digest('hex'));
        const claimed = wanted ?? response.headers.get('docker-content-digest') ?? found;
        if (isDigest(claimed) && claimed !== found) {
          const text = `${subjectOf(request)}: manifest ${claimed} arrived as ${found}`;
          throw new HatobaError('unavailable', text);
        }
        const type = response.headers.get('content-type') ?? '';
        return { bytes, mediaType: type.split(';')[0]?.trim() ?? '', digest: found };
      }),
    );
  }

  /**
   * Streams a blob to `take`, which checks it; a stream that breaks off is begun anew.
   * @throws {HatobaError} as manifest(), and what `take` throws
   */
  async blob(
    reference: ImageReference,
    descriptor: Descriptor,
    signal: AbortSignal,
    take: (content: AsyncIterable<Uint8Array>) => Promise<void>,
  ): Promise<void> {
    const request = { reference, path: `blobs/${descriptor.digest}`, signal };
    await this.#retry(signal, () =>
      this.#exchange(request, (response, deadline) => take(bodyOf(response, deadline))),
    );
  }

  async #retry<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    const { clock, random } = this.#modules;
    for (let n = 1; ; n++) {
      try {
        return await attempt();
      } catch (error) {
        signal.throwIfAborted();
        if (n >= ATTEMPTS || !isRetryable(error)) throw error;
      }
      await sleep(clock, backoffMs(n, BACKOFF, random), signal);
    }
  }

  /** One request, with a token if the registry wants one, and the whole use of its answer. */
  async #exchange<T>(
    request: Request,
    use: (response: Response, deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    const baseUrl = this.#baseUrl(request);
    const what = `an answer of ${baseUrl}`;
    const deadline = new Deadline(this.#modules.clock, IDLE_MS, what, request.signal);
    try {
      let response = await this.#send(request, deadline);
      if (response.status === 401) response = await this.#authorize(request, response, deadline);
      if (!response.ok) throw await this.#refusal(request, response, deadline);
      try {
        return await use(response, deadline);
      } finally {
        if (!response.bodyUsed) await response.body?.cancel();
      }
    } catch (error) {
      request.signal.throwIfAborted();
      throw this.#explain(error, request, deadline);
    } finally {
      deadline.dispose();
    }
  }

  async #send(request: Request, deadline: Deadline): Promise<Response> {
    const { reference, path, accept } = request;
    const token = this.#tokens.get(tokenKey(reference));
    const isValid = token !== undefined && token.expiresAtMs > this.#modules.clock.nowMs();
    const response = await this.#modules.fetch(
      `${this.#baseUrl(request)}/v2/${reference.repository}/${path}`,
      {
        headers: {
          'User-Agent': 'hatoba',
          // a server that compresses on the way would change the bytes the digest is of
          'Accept-Encoding': 'identity',
          ...(accept === undefined ? {} : { Accept: accept }),
          ...(isValid ? { Authorization: `Bearer ${token.token}` } : {}),
        },
        signal: deadline.signal,
      },
    );
    deadline.touch();
    if (response.url.startsWith('http:') && this.#baseUrl(request).startsWith('https:')) {
      await response.body?.cancel();
      const where = `registry ${this.#baseUrl(request)} sends its callers to ${new URL(response.url).origin}`;
      throw new HatobaError(
        'failed-precondition',
        `${subjectOf(request)} not pulled: ${where}, which anybody on the way could change`,
      );
    }
    return response;
  }

  /** Gets an anonymous token and asks again. */
  async #authorize(request: Request, refused: Response, deadline: Deadline): Promise<Response> {
    const challenge = parseAuthChallenge(refused.headers.get('www-authenticate') ?? '');
    if (challenge?.scheme !== 'bearer') return refused;
    await refused.body?.cancel();
    const { reference } = request;
    const url = tokenUrl(challenge, reference.repository, this.#baseUrl(request));
    const answer = await this.#modules.fetch(url, { signal: deadline.signal });
    deadline.touch();
    const body = await readBounded(answer, MAX_REFUSAL_BYTES, deadline);
    if (!answer.ok) {
      const refusal = parseRegistryAnswer(answer.status, body);
      throw registryRefusal(`${subjectOf(request)}: token`, url.origin, refusal);
    }
    this.#tokens.set(tokenKey(reference), parseToken(body, this.#modules.clock.nowMs()));
    return await this.#send(request, deadline);
  }

  async #refusal(request: Request, response: Response, deadline: Deadline): Promise<HatobaError> {
    const body = await readBounded(response, MAX_REFUSAL_BYTES, deadline);
    const answer = parseRegistryAnswer(response.status, body);
    return registryRefusal(subjectOf(request), this.#baseUrl(request), answer);
  }

  /** What fetch throws (a TypeError, "fetch failed") says nothing: its cause does. */
  #explain(error: unknown, request: Request, deadline: Deadline): unknown {
    const isLate = deadline.signal.aborted;
    if (!isLate && !(error instanceof TypeError)) return error;
    const cause: unknown = isLate ? deadline.signal.reason : error;
    const kind = cause instanceof HatobaError ? cause.kind : 'unavailable';
    const where = `registry ${this.#baseUrl(request)} not reachable`;
    const text = `${subjectOf(request)} not pulled: ${where}: ${describeError(cause)}`;
    return new HatobaError(kind, text, { cause });
  }

  #baseUrl({ reference }: Request): string {
    return registryBaseUrl(reference.registry, this.#modules.insecureRegistries);
  }
}

function tokenKey(reference: ImageReference): string {
  return `${reference.registry}/${reference.repository}`;
}

function subjectOf({ reference, path }: Request): string {
  if (path.startsWith('manifests/')) return `image "${familiarReference(reference)}"`;
  return `image "${familiarName(reference)}": blob ${path.slice('blobs/'.length)}`;
}

async function readBounded(
  response: Response,
  maxBytes: number,
  deadline: Deadline,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bodyOf(response, deadline)) {
    length += chunk.length;
    if (length > maxBytes) {
      throw new HatobaError('resource-exhausted', `an answer has more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The bytes of an answer; ends with the deadline's reason once that aborts. */
async function* bodyOf(response: Response, deadline: Deadline): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const { signal } = deadline;
  const reader = response.body.getReader();
  // fetch does not always end the body of a request that was aborted: a read would wait for ever
  const giveUp = (): void => {
    reader.cancel(signal.reason).catch(() => undefined); // what was cut off may fail to be cut off
  };
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const next: { done: boolean; value?: unknown } = await reader.read();
      signal.throwIfAborted();
      if (next.done) return;
      deadline.touch();
      yield next.value as Uint8Array;
    }
  } finally {
    signal.removeEventListener('abort', giveUp);
    giveUp();
  }
}
