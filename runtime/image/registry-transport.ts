import type { Clock } from '../../common/clock.js';
import { HatobaError, describeError } from '../../common/errors.js';
import { Deadline } from './deadline.js';

/** A body that is made anew for each attempt. */
export interface RequestBody {
  readonly sizeBytes: number;
  readonly open: () => AsyncIterable<Uint8Array>;
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | RequestBody;
  /** The longest silence; 30 s if not said. */
  readonly idleMs?: number;
}

export interface TransportModules {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
}

const IDLE_MS = 30_000;
const MAX_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * HTTP as registries need it.
 * 1. Every wait ends: after 30 s without a byte either way, or when the caller's signal aborts.
 * 2. Redirects of GET and HEAD are followed, ten at most, and never from HTTPS to HTTP. The
 *    Authorization header goes to the origin it was made for and nowhere else.
 * 3. What goes wrong below HTTP is `unavailable` or `deadline`, and names the origin.
 */
export class RegistryTransport {
  readonly #modules: TransportModules;

  constructor(modules: TransportModules) {
    this.#modules = modules;
  }

  /** The answer, of which only the headers have come; close() it whatever happens. */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const { origin } = new URL(request.url);
    const what = `an answer of ${origin}`;
    const deadline = new Deadline(this.#modules.clock, request.idleMs ?? IDLE_MS, what, signal);
    try {
      const response = await this.#follow(request, deadline);
      return new HttpAnswer(response, deadline, signal, origin);
    } catch (error) {
      deadline.dispose();
      signal.throwIfAborted();
      throw explain(error, deadline, origin);
    }
  }

  async #follow(request: HttpRequest, deadline: Deadline): Promise<Response> {
    let url = new URL(request.url);
    let headers = request.headers;
    for (let hops = 0; ; hops++) {
      const response = await this.#fetch(url, { ...request, headers }, deadline);
      deadline.touch();
      const mayFollow = request.method === 'GET' || request.method === 'HEAD';
      const location = response.headers.get('location');
      if (!mayFollow || location === null || !REDIRECTS.has(response.status)) return response;
      await dropBody(response);
      const next = nextUrl(url, location, hops);
      if (next.origin !== url.origin) headers = withoutAuthorization(headers);
      url = next;
    }
  }

  async #fetch(url: URL, request: HttpRequest, deadline: Deadline): Promise<Response> {
    const { method, headers, body } = request;
    const stream = isStream(body) ? body.open()[Symbol.asyncIterator]() : undefined;
    try {
      return await this.#modules.fetch(url.href, {
        method,
        headers: {
          'User-Agent': 'hatoba',
          // a server that compresses on the way would change the bytes the digest is of
          'Accept-Encoding': 'identity',
          ...headers,
          ...(isStream(body) ? { 'Content-Length': String(body.sizeBytes) } : {}),
        },
        redirect: 'manual',
        signal: deadline.signal,
        ...(body === undefined || isStream(body) ? {} : { body: Buffer.from(body) }),
        ...(stream === undefined ? {} : { body: toStream(stream, deadline), duplex: 'half' }),
      });
    } catch (error) {
      // fetch does not always end the body of a request that failed; what failed may fail to end
      stream?.return?.().catch(() => undefined);
      throw error;
    }
  }
}

/** An answer, and the reading of its body. */
export class HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly #response: Response;
  readonly #deadline: Deadline;
  readonly #signal: AbortSignal;
  readonly #origin: string;

  constructor(response: Response, deadline: Deadline, signal: AbortSignal, origin: string) {
    this.status = response.status;
    this.headers = response.headers;
    this.#response = response;
    this.#deadline = deadline;
    this.#signal = signal;
    this.#origin = origin;
  }

  get ok(): boolean {
    return this.#response.ok;
  }

  /** @throws {HatobaError} resource-exhausted for a longer body */
  async read(maxBytes: number): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.body()) {
      length += chunk.length;
      if (length > maxBytes) {
        const text = `an answer of ${this.#origin} has more than ${maxBytes} bytes`;
        throw new HatobaError('resource-exhausted', text);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** The body as it comes. While the reader is busy with a piece, no time is counted. */
  async *body(): AsyncGenerator<Uint8Array> {
    if (this.#response.body === null) return;
    const { signal } = this.#deadline;
    const reader = this.#response.body.getReader();
    // fetch does not always end the body of a request that was aborted: a read would wait for ever
    const giveUp = (): void => {
      reader.cancel(signal.reason).catch(() => undefined); // what was cut off may fail to be cut off
    };
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      for (;;) {
        const chunk = await this.#next(reader);
        if (chunk === undefined) return;
        this.#deadline.pause();
        yield chunk;
        this.#deadline.touch();
      }
    } finally {
      signal.removeEventListener('abort', giveUp);
      giveUp();
    }
  }

  async close(): Promise<void> {
    this.#deadline.dispose();
    if (!this.#response.bodyUsed) await dropBody(this.#response);
  }

  async #next(reader: ReadableStreamDefaultReader): Promise<Uint8Array | undefined> {
    const { signal } = this.#deadline;
    try {
      signal.throwIfAborted();
      const next: { done: boolean; value?: unknown } = await reader.read();
      signal.throwIfAborted();
      return next.done ? undefined : (next.value as Uint8Array);
    } catch (error) {
      this.#signal.throwIfAborted();
      throw explain(error, this.#deadline, this.#origin);
    }
  }
}

/** @throws {HatobaError} for what must not be followed */
function nextUrl(from: URL, location: string, hops: number): URL {
  const where = `registry ${from.origin} sends its callers`;
  if (hops >= MAX_REDIRECTS) {
    throw new HatobaError(
      'failed-precondition',
      `${where} on more than ${MAX_REDIRECTS} redirects`,
    );
  }
  const next = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  if (next === undefined || !/^https?:$/.test(next.protocol)) {
    throw new HatobaError('failed-precondition', `${where} by a redirect to no address`);
  }
  if (from.protocol === 'https:' && next.protocol === 'http:') {
    throw new HatobaError(
      'failed-precondition',
      `${where} to ${next.origin}, which anybody on the way could change`,
    );
  }
  return next;
}

function withoutAuthorization(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept = Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization');
  return Object.fromEntries(kept);
}

function isStream(body: HttpRequest['body']): body is RequestBody {
  return typeof body === 'object' && 'open' in body;
}

/** Read piece by piece as the line takes it, which counts as progress. */
function toStream(
  source: AsyncIterator<Uint8Array>,
  deadline: Deadline,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const next = await source.next();
        deadline.touch();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      },
      cancel: async () => {
        await source.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

async function dropBody(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined); // what is cut off may fail to be cut off
}

/** What fetch throws (a TypeError, "fetch failed") says nothing: its cause does. */
function explain(error: unknown, deadline: Deadline, origin: string): unknown {
  const isLate = deadline.signal.aborted;
  if (!isLate && error instanceof HatobaError) return error;
  const cause: unknown = isLate ? deadline.signal.reason : error;
  const kind = cause instanceof HatobaError ? cause.kind : 'unavailable';
  const text = `registry ${origin} not reachable: ${describeError(cause)}`;
  return new HatobaError(kind, text, { cause });
}
