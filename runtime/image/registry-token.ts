import { HatobaError } from '../../common/errors.js';
import { asObject, optionalCount, optionalString, parseJson } from '../core/json-fields.js';
import { isPlainHttp, type AuthChallenge } from '../core/registry-address.js';

/** A bearer token, and until when it may be used. */
export interface RegistryToken {
  readonly token: string;
  readonly expiresAtMs: number;
  /** Stands for name and password from now on, where the server gave one. */
  readonly identityToken: string;
}

/** Tokens that do not say live for 60 s; they are renewed a little before their end. */
const DEFAULT_LIFE_S = 60;
const MARGIN_S = 10;

export interface TokenAddressRules {
  /** Of the registry: over HTTPS it may not send its callers to plain HTTP. */
  readonly baseUrl: string;
  readonly insecureRegistries: readonly string[];
  /** Whether credentials go there. */
  readonly isSecret: boolean;
}

/**
 * Where a token is asked for.
 * @throws {HatobaError} unauthenticated when the address is none, or not safe
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export function tokenRealm(challenge: AuthChallenge, rules: TokenAddressRules): URL {
  const { realm = '' } = challenge.parameters;
  const url = URL.canParse(realm) ? new URL(realm) : undefined;
  if (url?.protocol === 'https:') return url;
  const { baseUrl, insecureRegistries, isSecret } = rules;
  const mayBePlain = baseUrl.startsWith('http:') && url?.protocol === 'http:';
  if (mayBePlain && (!isSecret || isPlainHttp(url.host, insecureRegistries))) return url;
  const why = mayBePlain
    ? 'credentials go over plain HTTP only to registries named insecure'
    : 'which is no safe address';
  throw new HatobaError(
    'unauthenticated',
    `registry ${baseUrl} sends its callers to "${realm}" for a token, ${why}`,
  );
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
  const identityToken = optionalString(answer['refresh_token'], 'refresh_token');
  return { token, expiresAtMs: nowMs + Math.max(0, lifeS - MARGIN_S) * 1000, identityToken };
}
