import { HatobaError } from '../../common/errors.js';

/** Bytes as a byte string, up to the first NUL. */
export function byteString(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = '';
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte === undefined || byte === 0) break;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** A byte string for people and for system calls that take UTF-8. */
export function byteText(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0)));
}

/**
 * A number of a header: octal text, or GNU's base 256 when the first bit is set.
 * @throws {HatobaError} invalid-argument
 */
export function tarNumber(block: Uint8Array, start: number, length: number): number {
  const first = block[start] ?? 0;
  if (first >= 0x80) return parseBase256(block.subarray(start, start + length));
  const text = byteString(block, start, start + length).trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw malformed(`a header has "${text}" where a number must be`);
  return Number.parseInt(text, 8);
}

/** Two's complement, big-endian; the first bit is the marker and not part of the number. */
function parseBase256(field: Uint8Array): number {
  const negative = ((field[0] ?? 0) & 0x40) !== 0;
  let value = BigInt((field[0] ?? 0) & 0x7f);
  for (const byte of field.subarray(1)) value = (value << 8n) | BigInt(byte);
  if (negative) value -= 1n << BigInt(field.length * 8 - 1);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw malformed('a header has a number that is too large');
  return number;
}

function malformed(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
