/** DNS over TCP: every message behind its length in two bytes (RFC 1035, 4.2.2). */
export function toFrame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length, 0);
  return Buffer.concat([length, message]);
}

/** Cuts a stream into messages; holds at most one unfinished message, of 64 KiB at most. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The messages that end in this chunk. */
  push(chunk: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const frames: Buffer[] = [];
    while (this.#rest.length >= 2) {
      const end = 2 + this.#rest.readUInt16BE(0);
      if (this.#rest.length < end) break;
      frames.push(this.#rest.subarray(2, end));
      this.#rest = this.#rest.subarray(end);
    }
    return frames;
  }
}
