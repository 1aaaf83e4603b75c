import { HatobaError } from '../../common/errors.js';

/** "sha256:<64 lower-case hex digits>": the name of a blob by its content. */
export type Digest = string & { readonly __brand: 'Digest' };

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Whether `text` is a digest Hatoba can verify. */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** @throws {HatobaError} invalid-argument naming the text and the one form that is right */
export function toDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new HatobaError(
    'invalid-argument',
    `"${text}" is not a digest: "sha256:" and 64 hexadecimal digits are expected`,
  );
}

/** The digest of a finished SHA-256 in hexadecimal. */
export function digestOfHex(hex: string): Digest {
  return toDigest(`sha256:${hex}`);
}

/** The 64 hexadecimal digits alone; safe as a file name. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}
