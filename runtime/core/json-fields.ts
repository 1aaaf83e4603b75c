import { HatobaError } from '../../common/errors.js';

/** A JSON object whose members are still to be checked. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses JSON that came from outside.
 * @param what names the document in errors: 'manifest of "web:1"'
 * @throws {HatobaError} invalid-argument
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new HatobaError('invalid-argument', `${what} is not JSON`, { cause: error });
  }
}

/** @throws {HatobaError} invalid-argument when it is not an object */
export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as JsonObject;
  }
  throw wrongType(what, 'an object', value);
}

/** @throws {HatobaError} invalid-argument when it is not a list, or longer than `max` */
export function asArray(value: unknown, what: string, max = 10_000): readonly unknown[] {
  if (!Array.isArray(value)) throw wrongType(what, 'a list', value);
  if (value.length > max) {
    throw new HatobaError(
      'invalid-argument',
      `${what} has ${value.length} members, more than ${max}`,
    );
  }
  return value;
}

/** @throws {HatobaError} invalid-argument when it is not a text */
export function asString(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw wrongType(what, 'a text', value);
}

/** @throws {HatobaError} invalid-argument when it is not a whole number from 0 */
export function asCount(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw wrongType(what, 'a whole number from 0', value);
}

/** The text, or empty when absent or null. */
export function optionalString(value: unknown, what: string): string {
  return value === undefined || value === null ? '' : asString(value, what);
}

/** The number, or 0 when absent or null. */
export function optionalCount(value: unknown, what: string): number {
  return value === undefined || value === null ? 0 : asCount(value, what);
}

/** The list of texts, or empty when absent or null. */
export function optionalStrings(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return [];
  return asArray(value, what).map((item, i) => asString(item, `${what}[${i}]`));
}

/** The object, or an empty one when absent or null. */
export function optionalObject(value: unknown, what: string): JsonObject {
  return value === undefined || value === null ? {} : asObject(value, what);
}

/** Name → text, or empty when absent or null. */
export function optionalTexts(value: unknown, what: string): Record<string, string> {
  const texts = Object.entries(optionalObject(value, what));
  return Object.fromEntries(texts.map(([key, text]) => [key, asString(text, `${what}.${key}`)]));
}

function wrongType(what: string, wanted: string, value: unknown): HatobaError {
  const found = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  return new HatobaError('invalid-argument', `${what} must be ${wanted}, not ${found}`);
}
