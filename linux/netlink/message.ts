import { NLA_F_NESTED, NLA_TYPE_MASK } from './constants.js';

const HEADER_BYTES = 16;

/**
 * A netlink request without its sequence number: header, fixed part, attributes.
 * Everything is in the machine's byte order, little-endian on all we run on.
 */
export class MessageWriter {
  readonly #parts: Buffer[] = [];
  #bytes = HEADER_BYTES;

  constructor(type: number, flags: number, fixed: Buffer) {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt16LE(type, 4);
    header.writeUInt16LE(flags, 6);
    this.#parts.push(header);
    this.#push(fixed);
  }

  /** Adds an attribute; undefined adds none. */
  attribute(type: number, value: Uint8Array | undefined): this {
    if (value !== undefined) this.#push(encodeAttribute(type, value));
    return this;
  }

  /** The message, numbered. */
  build(sequence: number): Buffer {
    const message = Buffer.concat(this.#parts);
    message.writeUInt32LE(this.#bytes, 0);
    message.writeUInt32LE(sequence, 8);
    return message;
  }

  #push(part: Buffer): void {
    const padded = pad(part);
    this.#parts.push(padded);
    this.#bytes += padded.length;
  }
}

export function u8(value: number): Buffer {
  return Buffer.from([value]);
}
export function u16be(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
/** A string with its final NUL. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf8');
}
/** Attributes within an attribute, behind a fixed part where there is one. */
export function nested(
  attributes: readonly (readonly [type: number, value: Uint8Array | undefined])[],
  fixed: Buffer = Buffer.alloc(0),
): Buffer {
  const present = attributes.flatMap(([type, value]) =>
    value === undefined ? [] : [pad(encodeAttribute(type, value))],
  );
  return Buffer.concat([fixed, ...present]);
}
/** The type of an attribute that holds attributes. */
export function nestedType(type: number): number {
  return type | NLA_F_NESTED;
}

function encodeAttribute(type: number, value: Uint8Array): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + value.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, value]);
}

function pad(part: Buffer): Buffer {
  const rest = part.length % 4;
  return rest === 0 ? part : Buffer.concat([part, Buffer.alloc(4 - rest)]);
}

export interface Message {
  type: number;
  flags: number;
  sequence: number;
  /** What follows the header. */
  payload: Buffer;
}

/** Splits what one recv(2) gave. A cut-off message ends it. */
export function parseMessages(received: Buffer): Message[] {
  const messages: Message[] = [];
  for (let offset = 0; offset + HEADER_BYTES <= received.length;) {
    const length = received.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > received.length) break;
    messages.push({
      type: received.readUInt16LE(offset + 4),
      flags: received.readUInt16LE(offset + 6),
      sequence: received.readUInt32LE(offset + 8),
      payload: received.subarray(offset + HEADER_BYTES, offset + length),
    });
    offset += (length + 3) & ~3;
  }
  return messages;
}

export type Attributes = ReadonlyMap<number, Buffer>;

/** The attributes from `offset` on, by type; of one given twice, the last. */
export function parseAttributes(payload: Buffer, offset = 0): Attributes {
  const attributes = new Map<number, Buffer>();
  for (let at = offset; at + 4 <= payload.length;) {
    const length = payload.readUInt16LE(at);
    if (length < 4 || at + length > payload.length) break;
    const type = payload.readUInt16LE(at + 2) & NLA_TYPE_MASK;
    attributes.set(type, payload.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

export function readU32(attributes: Attributes, type: number): number | undefined {
  const value = attributes.get(type);
  return value === undefined || value.length < 4 ? undefined : value.readUInt32LE();
}
export function readString(attributes: Attributes, type: number): string | undefined {
  return attributes.get(type)?.toString('utf8').replace(/\0.*$/s, '');
}
