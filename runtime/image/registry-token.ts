import { HatobaError } from '../../common/errors.js';
import { asObject, optionalCount, optionalString, parseJson } from '../core/json-fields.js';
import type { AuthChallenge } from '../core/registry-address.js';

/** A bearer token, and until when it may be used. */
export interface RegistryToken {
  readonly token: string;
  readonly expiresAtMs: number;
}

/** Tokens that do not say live for 60 s; they are renewed a little before their end. */
const DEFAULT_LIFE_S = 60;
const MARGIN_S = 10;

/**
 * Where an anonymous token is asked for.
 * @param baseUrl of the registry: over HTTPS it may not send its callers to plain HTTP
 * @throws {HatobaError} unauthenticated when the address is none, or not safe
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export function tokenUrl(challenge: AuthChallenge, repository: string, baseUrl: string): URL {
  const { realm = '', service = '', scope } = challenge.parameters;
  const url = URL.canParse(realm) ? new URL(realm) : undefined;
  const isAllowed =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && baseUrl.startsWith('http:'));
  if (url === undefined || !isAllowed) {
    throw new HatobaError(
      'unauthenticated',
      `registry ${baseUrl} sends its callers to "${realm}" for a token, which is no safe address`,
    );
  }
  if (service !== '') url.searchParams.set('service', service);
  url.searchParams.set('scope', scope ?? `repository:${repository}:pull`);
  return url;
}

/** @throws {HatobaError} invalid-argument for an answer without a token */
export function parseToken(body: Uint8Array, nowMs: number): RegistryToken {
  const answer = asObject(parseJson(body, 'token answer'), 'token answer');
  const token =
    optionalString(answer['token'], 'token') || optionalString(answer['access_token'], 'token');
  // a line break would end the header the token goes into
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new HatobaError('invalid-argument', 'the token server answered without a token');
  }
  const lifeS = optionalCount(answer['expires_in'], 'expires_in') || DEFAULT_LIFE_S;
  return { token, expiresAtMs: nowMs + Math.max(0, lifeS - MARGIN_S) * 1000 };
}
