import { HatobaError, type ErrorKind } from '../../common/errors.js';
import { asArray, asObject, optionalString, parseJson } from '../core/json-fields.js';
import type { HttpAnswer } from './registry-transport.js';
import { parseRetryAfter } from './retry-after.js';

/** What a registry says when it refuses: its status, and the code and message of its answer. */
export interface RegistryAnswer {
  readonly status: number;
  /** "MANIFEST_UNKNOWN" or empty. */
  readonly code: string;
  readonly message: string;
  /** How long it wants to be left alone, where it says so. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * Reads the body of a refusal, `{"errors":[{"code":"…","message":"…"}]}`; many servers in between
 * send something else, which is then left out.
 */
export function parseRegistryAnswer(status: number, body: Uint8Array): RegistryAnswer {
  try {
    const errors = asArray(asObject(parseJson(body, 'answer'), 'answer')['errors'], 'errors');
    const first = asObject(errors[0], 'errors[0]');
    return {
      status,
      code: optionalString(first['code'], 'code'),
      message: optionalString(first['message'], 'message'),
    };
  } catch (error) {
    if (error instanceof HatobaError) return { status, code: '', message: '' };
    throw error;
  }
}

const MAX_REFUSAL_BYTES = 64 * 1024;

/** Reads a refusal to its end; the answer stays the caller's to close. */
export async function readRefusal(answer: HttpAnswer, nowMs: number): Promise<RegistryAnswer> {
  const body = await answer.read(MAX_REFUSAL_BYTES);
  const retryAfterMs = parseRetryAfter(answer.headers.get('retry-after') ?? '', nowMs);
  return { ...parseRegistryAnswer(answer.status, body), retryAfterMs };
}

/**
 * The error for a refusal: `image "127.0.0.1:5000/web:9" not found: registry answered 404
 * MANIFEST_UNKNOWN (manifest unknown) at http://127.0.0.1:5000`.
 * @param subject names the image, and the blob if it is about one
 * @param baseUrl where the registry answers
 */
export function registryRefusal(
  subject: string,
  baseUrl: string,
  answer: RegistryAnswer,
  about: RefusedCall,
): HatobaError {
  const { kind, problem, advice } = meaningOf(answer, about);
  const code = answer.code === '' ? '' : ` ${answer.code}`;
  const message = answer.message === '' ? '' : ` (${answer.message})`;
  const { status, retryAfterMs } = answer;
  const text = `${subject} ${problem}: registry answered ${status}${code}${message} at ${baseUrl}`;
  return new HatobaError(kind, advice === '' ? text : `${text}; ${advice}`, {
    detail: { status, code: answer.code, ...(retryAfterMs !== undefined && { retryAfterMs }) },
  });
}

/** How long the registry that refused wants to be left alone; 0 where it does not say. */
export function retryAfterOf(error: unknown): number {
  const ms = error instanceof HatobaError ? error.detail['retryAfterMs'] : undefined;
  return typeof ms === 'number' ? ms : 0;
}

/** What was asked of the registry that refused it. */
export interface RefusedCall {
  readonly deed: 'pulled' | 'pushed' | 'given' | 'taken';
  /** As image references name the registry. */
  readonly host: string;
  readonly hasCredentials: boolean;
}

function meaningOf(
  { status, retryAfterMs }: RegistryAnswer,
  { deed, host, hasCredentials }: RefusedCall,
): { kind: ErrorKind; problem: string; advice: string } {
  if (status === 404) return { kind: 'not-found', problem: 'not found', advice: '' };
  if (status === 401 || status === 403) {
    const kind = status === 401 ? 'unauthenticated' : 'permission-denied';
    const without =
      deed === 'pulled'
        ? 'the image does not exist there, or it needs a login'
        : 'it needs a login';
    const advice = hasCredentials
      ? `the credentials for ${host} are wrong, or may not do that`
      : `${without}: hatoba login ${host}`;
    return { kind, problem: 'refused', advice };
  }
  if (status === 429) {
    const wait = retryAfterMs === undefined ? '' : `: wait ${Math.ceil(retryAfterMs / 1000)} s`;
    const advice = `its rate limit is reached${wait}`;
    return { kind: 'unavailable', problem: `not ${deed}`, advice };
  }
  const kind = status >= 500 ? 'unavailable' : 'failed-precondition';
  return { kind, problem: `not ${deed}`, advice: '' };
}
