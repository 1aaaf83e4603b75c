import type { Clock } from '../../common/clock.js';
import { HatobaError, describeError, kindOf } from '../../common/errors.js';
import type { Access, RegistryAuth } from './registry-auth.js';
import { readRefusal, registryRefusal } from './registry-error.js';
import type { HttpAnswer, HttpRequest, RegistryTransport } from './registry-transport.js';

/** What a request is for, as its errors say it: `image "web:1" not pulled: …`. */
export interface Purpose {
  readonly subject: string;
  readonly deed: 'pulled' | 'pushed' | 'taken';
}

export interface RegistryRequest extends Omit<HttpRequest, 'headers' | 'url'> {
  /** Below the endpoint's /v2/, or a whole address a registry gave. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Statuses that are an answer, besides 2xx. */
  readonly accepts?: readonly number[];
}

/** The headers that show what was granted. */
type Grant = Readonly<Record<string, string>>;

/** Requests of registries by somebody, for something. */
export class RegistryHttp {
  readonly #transport: RegistryTransport;
  readonly #auth: RegistryAuth;
  readonly #clock: Clock;

  constructor(modules: { transport: RegistryTransport; auth: RegistryAuth; clock: Clock }) {
    this.#transport = modules.transport;
    this.#auth = modules.auth;
    this.#clock = modules.clock;
  }

  /**
   * Sends a request, and once more with a grant where the registry wants one.
   * @returns an answer of an accepted status; close() it whatever happens
   * @throws {HatobaError} not-found | unauthenticated | permission-denied | unavailable | deadline |
   *   failed-precondition, naming the purpose and the registry
   */
  async send(
    access: Access,
    request: RegistryRequest,
    purpose: Purpose,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    try {
      const grant = this.#grantFor(access, request);
      const first = await this.#sendOnce(access, request, grant, signal);
      const answer =
        first.status === 401 ? await this.#authorize(access, request, first, grant, signal) : first;
      if (answer.ok || request.accepts?.includes(answer.status) === true) return answer;
      throw await this.#refusalOf(access, answer, purpose);
    } catch (error) {
      signal.throwIfAborted();
      throw withPurpose(error, purpose);
    }
  }

  async #authorize(
    access: Access,
    request: RegistryRequest,
    refused: HttpAnswer,
    shown: Grant,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const challenge = refused.headers.get('www-authenticate') ?? '';
    const authorization = shown['Authorization'];
    try {
      const isGranted =
        isWithin(access, request) &&
        (await this.#auth.answer(access, { challenge, authorization }, signal));
      if (!isGranted) return refused;
    } catch (error) {
      await refused.close();
      throw error;
    }
    await refused.close();
    const grant = this.#grantFor(access, request);
    const second = await this.#sendOnce(access, request, grant, signal);
    if (second.status === 401) this.#auth.forget(access);
    return second;
  }

  async #sendOnce(
    access: Access,
    request: RegistryRequest,
    grant: Grant,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const { path, headers = {}, accepts: _accepts, ...rest } = request;
    const url = urlOf(access, path);
    return await this.#transport.send({ ...rest, url, headers: { ...headers, ...grant } }, signal);
  }

  /** A storage server that a registry names has no business with its tokens. */
  #grantFor(access: Access, request: RegistryRequest): Grant {
    return isWithin(access, request) ? this.#auth.headers(access) : {};
  }

  async #refusalOf(
    { endpoint, credentials }: Access,
    answer: HttpAnswer,
    { subject, deed }: Purpose,
  ): Promise<HatobaError> {
    try {
      const refusal = await readRefusal(answer, this.#clock.nowMs());
      const hasCredentials = credentials !== undefined;
      const about = { deed, host: endpoint.host, hasCredentials };
      return registryRefusal(subject, endpoint.baseUrl, refusal, about);
    } finally {
      await answer.close();
    }
  }
}

function urlOf({ endpoint }: Access, path: string): string {
  return /^https?:/.test(path) ? path : `${endpoint.baseUrl}/v2/${path}`;
}

function isWithin(access: Access, { path }: RegistryRequest): boolean {
  return new URL(urlOf(access, path)).origin === new URL(access.endpoint.baseUrl).origin;
}

/** What came from below, with what it was about. */
export function withPurpose(error: unknown, { subject, deed }: Purpose): unknown {
  const text = describeError(error);
  if (!(error instanceof HatobaError) || text.startsWith(subject)) return error;
  const { detail } = error;
  return new HatobaError(kindOf(error), `${subject} not ${deed}: ${text}`, {
    detail,
    cause: error,
  });
}
