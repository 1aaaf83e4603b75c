import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.js';
import type { RegistryCredentials } from '../../common/registry-credentials.js';
import {
  parseAuthChallenges,
  type AuthChallenge,
  type RegistryEndpoint,
} from '../core/registry-address.js';
import { readRefusal, registryRefusal } from './registry-error.js';
import { parseToken, tokenRealm, type RegistryToken } from './registry-token.js';
import type { HttpRequest, RegistryTransport } from './registry-transport.js';

export interface AuthModules {
  readonly transport: RegistryTransport;
  readonly clock: Clock;
  readonly insecureRegistries: readonly string[];
}

/** Who asks a registry, and what for. */
export interface Access {
  readonly endpoint: RegistryEndpoint;
  readonly credentials: RegistryCredentials | undefined;
  /** "repository:team/web:pull,push" */
  readonly scopes: readonly string[];
}

type Grant = { readonly scheme: 'basic' } | ({ readonly scheme: 'bearer' } & RegistryToken);

const MAX_ANSWER_BYTES = 64 * 1024;
/** Grants that are remembered; the oldest goes first. */
const MAX_GRANTS = 500;
const CLIENT = 'hatoba';

/**
 * Proves to registries who is asking: by bearer tokens, or by name and password.
 * 1. Credentials go to the registry they are for, and to the token server that it names; over plain
 *    HTTP only where the registry is spoken to without TLS and the token server is named so too.
 * 2. What was granted is remembered by registry, scopes and credentials, until it ends.
 */
export class RegistryAuth {
  readonly #modules: AuthModules;
  readonly #grants = new Map<string, Grant>();

  constructor(modules: AuthModules) {
    this.#modules = modules;
  }

  /** The Authorization header for a request, as far as something was granted. */
  headers(access: Access): Record<string, string> {
    const grant = this.#grants.get(keyOf(access));
    if (grant === undefined) return {};
    if (grant.scheme === 'basic') return { Authorization: basic(access.credentials) };
    const isValid = grant.expiresAtMs > this.#modules.clock.nowMs();
    return isValid ? { Authorization: `Bearer ${grant.token}` } : {};
  }

  /**
   * Answers a 401.
   * @param refused its WWW-Authenticate, and the Authorization that was not enough; of calls that
   *   are under way at once, all but the first may find a grant that they did not have
   * @returns whether asking again makes sense
   * @throws {HatobaError} unauthenticated | permission-denied | unavailable of the token server
   */
  async answer(
    access: Access,
    refused: { challenge: string; authorization: string | undefined },
    signal: AbortSignal,
  ): Promise<boolean> {
    const challenges = parseAuthChallenges(refused.challenge);
    const bearer = challenges.find((c) => c.scheme === 'bearer');
    if (bearer !== undefined) {
      const token = await this.#fetchToken(access, bearer, signal);
      this.#remember(access, { scheme: 'bearer', ...token });
      return true;
    }
    if (!challenges.some((c) => c.scheme === 'basic')) return false;
    const shown = basic(access.credentials);
    // refused with them already, or nothing to show
    if (refused.authorization === shown || isEmpty(access.credentials)) return false;
    this.#remember(access, { scheme: 'basic' });
    return true;
  }

  forget(access: Access): void {
    this.#grants.delete(keyOf(access));
  }

  /** The identity token that came with the grant, or empty. */
  identityToken(access: Access): string {
    const grant = this.#grants.get(keyOf(access));
    return grant?.scheme === 'bearer' ? grant.identityToken : '';
  }

  async #fetchToken(
    access: Access,
    challenge: AuthChallenge,
    signal: AbortSignal,
  ): Promise<RegistryToken> {
    const { transport, clock, insecureRegistries } = this.#modules;
    const { baseUrl } = access.endpoint;
    const isSecret = access.credentials !== undefined;
    const realm = tokenRealm(challenge, { baseUrl, insecureRegistries, isSecret });
    const answer = await transport.send(tokenRequest(realm, challenge, access), signal);
    try {
      const nowMs = clock.nowMs();
      if (answer.ok) return parseToken(await answer.read(MAX_ANSWER_BYTES), nowMs);
      const refusal = await readRefusal(answer, nowMs);
      throw registryRefusal('token', realm.origin, refusal, {
        deed: 'given',
        host: access.endpoint.host,
        hasCredentials: isSecret,
      });
    } finally {
      await answer.close();
    }
  }

  #remember(access: Access, grant: Grant): void {
    const key = keyOf(access);
    this.#grants.delete(key);
    this.#grants.set(key, grant);
    const [oldest] = this.#grants.keys();
    if (this.#grants.size > MAX_GRANTS && oldest !== undefined) this.#grants.delete(oldest);
  }
}

/** By GET with name and password if there are any; by POST for an identity token (OAuth 2). */
function tokenRequest(realm: URL, challenge: AuthChallenge, access: Access): HttpRequest {
  const { credentials } = access;
  const { service = '', scope = '' } = challenge.parameters;
  const scopes = joinScopes(access.scopes, scope);
  if (credentials !== undefined && credentials.identityToken !== '') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      service,
      client_id: CLIENT,
      refresh_token: credentials.identityToken,
      ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
    });
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    return { method: 'POST', url: realm.href, headers, body: form.toString() };
  }
  const url = new URL(realm);
  if (service !== '') url.searchParams.set('service', service);
  for (const wanted of scopes) url.searchParams.append('scope', wanted);
  if (isEmpty(credentials)) return { method: 'GET', url: url.href, headers: {} };
  url.searchParams.set('account', credentials?.username ?? '');
  if (scopes.length === 0) {
    // a login: an identity token is wanted, to be kept instead of the password
    url.searchParams.set('client_id', CLIENT);
    url.searchParams.set('offline_token', 'true');
  }
  return { method: 'GET', url: url.href, headers: { Authorization: basic(credentials) } };
}

/** What is wanted, and what the registry says besides of other resources. */
function joinScopes(wanted: readonly string[], challenged: string): string[] {
  const resource = (scope: string): string => scope.slice(0, scope.lastIndexOf(':'));
  const known = new Set(wanted.map(resource));
  const others = challenged.split(' ').filter((s) => s !== '' && !known.has(resource(s)));
  return [...wanted, ...others];
}

function isEmpty(credentials: RegistryCredentials | undefined): boolean {
  return credentials === undefined || credentials.username === '';
}

function basic(credentials: RegistryCredentials | undefined): string {
  const { username = '', password = '' } = credentials ?? {};
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** Secrets are in memory once, not also in the keys of a map. */
function keyOf({ endpoint, credentials, scopes }: Access): string {
  const text = JSON.stringify([endpoint.baseUrl, credentials ?? null, scopes]);
  return createHash('sha256').update(text).digest('hex');
}
