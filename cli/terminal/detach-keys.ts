import { HatobaError } from '../../common/errors.js';

/** Ctrl-P, Ctrl-Q: as Docker has it. */
export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q';

const CONTROLS = '@abcdefghijklmnopqrstuvwxyz[\\]^_';

/**
 * Bytes of keys written as Docker writes them: characters and `ctrl-x`, with commas between.
 * @throws {HatobaError} invalid-argument
 */
export function parseDetachKeys(text: string): Uint8Array {
  return Uint8Array.from(text.split(','), (key) => {
    const control = /^ctrl-(.)$/i.exec(key)?.[1]?.toLowerCase();
    const code = control === undefined ? key.charCodeAt(0) : CONTROLS.indexOf(control);
    const isKey = control === undefined ? /^[\x21-\x7e]$/.test(key) : code >= 0;
    if (isKey) return code;
    throw new HatobaError(
      'invalid-argument',
      `detach keys "${text}": "${key}" is no key; write characters or ctrl-a … ctrl-z, ctrl-@ [ \\ ] ^ _ with commas between: "${DEFAULT_DETACH_KEYS}"`,
    );
  });
}

/**
 * Looks for the detach keys in what is typed.
 * 1. All that comes before them is passed on, byte for byte and in order.
 * 2. Bytes that may be their beginning are held back until it is known that they are not.
 */
export class DetachScanner {
  readonly #keys: Uint8Array;
  /** How many of the keys the bytes before here end with. */
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** @returns what is to be passed on now; after `isDetached`, nothing more is to be given */
  scan(typed: Uint8Array): { passed: Buffer; isDetached: boolean } {
    const pending = Buffer.from(this.#keys.subarray(0, this.#matched));
    const all = Buffer.concat([pending, typed]);
    for (let at = 0; at < typed.length; at++) {
      this.#matched = this.#after(typed[at]);
      if (this.#matched === this.#keys.length) {
        const end = pending.length + at + 1 - this.#matched;
        return { passed: all.subarray(0, end), isDetached: true };
      }
    }
    return { passed: all.subarray(0, all.length - this.#matched), isDetached: false };
  }

  /** The most keys that what was matched so far and one more byte end with. */
  #after(byte: number | undefined): number {
    for (let length = this.#matched; length >= 0; length--) {
      if (this.#keys[length] === byte && this.#endsWith(length)) return length + 1;
    }
    return 0;
  }

  /** Whether what was matched so far ends with the first `length` keys. */
  #endsWith(length: number): boolean {
    const skipped = this.#matched - length;
    return this.#keys.subarray(0, length).every((key, i) => key === this.#keys[skipped + i]);
  }
}
