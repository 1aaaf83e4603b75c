import { Readable } from 'node:stream';

const HIGH_WATER_BYTES = 256 * 1024;

/** What is read by one who may be slow, and written by one who asks how far behind that is. */
export class PacedOutput extends Readable {
  #wake: () => void = () => undefined;
  #hasEnded = false;
  #givenBytes = 0;

  constructor() {
    super({ highWaterMark: HIGH_WATER_BYTES });
  }

  override _read(): void {
    this.#wake();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#hasEnded = true;
    this.#wake();
    done(error);
  }

  /** @returns false when the reader should be waited for; ignored after the end */
  give(bytes: Uint8Array): boolean {
    this.#givenBytes += bytes.length;
    return this.#hasEnded || this.push(bytes);
  }

  /** All that was ever given. */
  get givenBytes(): number {
    return this.#givenBytes;
  }

  end(): void {
    if (!this.#hasEnded) this.push(null);
    this.#hasEnded = true;
    this.#wake();
  }

  /** Bytes given and not read. */
  get behindBytes(): number {
    return this.#hasEnded ? 0 : this.readableLength;
  }

  /** Resolves when the reader has caught up, or is gone. */
  caughtUp(): Promise<void> {
    if (this.behindBytes < HIGH_WATER_BYTES) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
