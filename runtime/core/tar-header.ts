import { HatobaError } from '../../common/errors.js';

/**
 * Tar headers. Names are *byte strings*: one character for each byte (Latin-1), because names in a
 * tar need not be UTF-8 and must reach the disk as they are; `byteText` makes them readable.
 * Extended attributes stay bytes for the same reason (tar-stream decodes them as UTF-8, which breaks
 * file capabilities).
 * @see pax(1), POSIX.1-2017; GNU tar manual, "Basic Tar Format"
 */
export interface TarEntry {
  readonly name: string;
  readonly kind: TarKind;
  /** Of links; a byte string. */
  readonly linkName: string;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeMs: number;
  /** Bytes of content; 0 for all but files. */
  readonly sizeBytes: number;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

export type TarKind =
  'file' | 'directory' | 'symlink' | 'hardlink' | 'character-device' | 'block-device' | 'fifo';

/** What a header block itself says, before PAX and GNU extensions. */
export interface TarHeader extends Omit<TarEntry, 'kind' | 'xattrs'> {
  /** The raw type: "0", "L", "x" … */
  readonly type: string;
}

export const TAR_BLOCK_BYTES = 512;
const KINDS: Readonly<Record<string, TarKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
};
const XATTR_PREFIX = 'SCHILY.xattr.';

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
 * Decodes one header block.
 * @returns undefined for a block of zeros, the end of an archive
 * @throws {HatobaError} invalid-argument when the checksum or a number is wrong
 */
export function parseTarHeader(block: Uint8Array): TarHeader | undefined {
  const sums = checksums(block);
  if (sums.unsigned === 8 * 32 && block[0] === 0) return undefined;
  const stored = Number.parseInt(byteString(block, 148, 156).trim(), 8);
  if (stored !== sums.unsigned && stored !== sums.signed) {
    throw malformed('a header has a wrong checksum; is the file a tar?');
  }
  const type = String.fromCharCode(block[156] ?? 0);
  const isPosix = byteString(block, 257, 263) === 'ustar' && block[263] === 0x30;
  const prefix = isPosix ? byteString(block, 345, 500) : '';
  const base = byteString(block, 0, 100);
  return {
    name: prefix === '' ? base : `${prefix}/${base}`,
    type,
    linkName: byteString(block, 157, 257),
    mode: parseNumber(block, 100, 8) & 0o7777,
    uid: nonNegative(parseNumber(block, 108, 8), 'uid'),
    gid: nonNegative(parseNumber(block, 116, 8), 'gid'),
    sizeBytes: nonNegative(parseNumber(block, 124, 12), 'size'),
    mtimeMs: parseNumber(block, 136, 12) * 1000,
    major: type === '3' || type === '4' ? parseNumber(block, 329, 8) : 0,
    minor: type === '3' || type === '4' ? parseNumber(block, 337, 8) : 0,
  };
}

/** The sum of all bytes with the checksum's own as blanks; old tars added signed bytes. */
function checksums(block: Uint8Array): { unsigned: number; signed: number } {
  let unsigned = 0;
  let high = 0;
  for (let i = 0; i < TAR_BLOCK_BYTES; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0);
    unsigned += byte;
    if (byte >= 0x80) high++;
  }
  return { unsigned, signed: unsigned - high * 256 };
}

/** Octal text, or GNU's base 256 when the first bit is set. */
function parseNumber(block: Uint8Array, start: number, length: number): number {
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

function nonNegative(value: number, what: string): number {
  if (value < 0) throw malformed(`a header has the negative ${what} ${value}`);
  return value;
}

/** Records of a PAX header: keyword → raw value. */
export type PaxRecords = ReadonlyMap<string, Uint8Array>;

/**
 * Decodes the content of a PAX header ("LENGTH KEY=VALUE\n" …).
 * @throws {HatobaError} invalid-argument when a record does not have its own length
 */
export function parsePaxRecords(content: Uint8Array): PaxRecords {
  const records = new Map<string, Uint8Array>();
  for (let start = 0; start < content.length;) {
    const space = content.indexOf(0x20, start);
    const digits = space === -1 || space - start > 10 ? '' : byteString(content, start, space);
    const end = start + Number(digits);
    const isWhole = /^\d+$/.test(digits) && end > space && end <= content.length;
    const equals = content.indexOf(0x3d, space);
    if (!isWhole || equals === -1 || equals >= end || content[end - 1] !== 0x0a) {
      throw malformed('a PAX header has a malformed record');
    }
    records.set(byteString(content, space + 1, equals), content.slice(equals + 1, end - 1));
    start = end;
  }
  return records;
}

/** Extensions that came before a header. */
export interface TarExtensions {
  readonly longName?: string;
  readonly longLink?: string;
  readonly pax: PaxRecords;
}

/**
 * The entry a header and what came before it describe together.
 * @throws {HatobaError} invalid-argument naming the entry, for types that a layer cannot hold
 */
export function toTarEntry(header: TarHeader, extensions: TarExtensions): TarEntry {
  const { pax } = extensions;
  const text = (key: string): string | undefined => {
    const value = pax.get(key);
    if (value?.includes(0) === true) throw malformed(`a PAX header has a NUL in its ${key}`);
    return value === undefined ? undefined : byteString(value);
  };
  const name = text('path') ?? extensions.longName ?? header.name;
  const kind = kindOf(header, name);
  if (kind === undefined || [...pax.keys()].some((key) => key.startsWith('GNU.sparse.'))) {
    const type = kind === undefined ? `type "${header.type}"` : 'type "sparse file"';
    throw malformed(`entry "${byteText(name)}" is of ${type}, which Hatoba cannot unpack`);
  }
  const mtime = text('mtime');
  return {
    name,
    kind,
    linkName: text('linkpath') ?? extensions.longLink ?? header.linkName,
    mode: header.mode,
    uid: paxNumber(pax, 'uid', header.uid),
    gid: paxNumber(pax, 'gid', header.gid),
    mtimeMs: mtime === undefined ? header.mtimeMs : paxTimeMs(mtime),
    sizeBytes: kind === 'file' ? paxNumber(pax, 'size', header.sizeBytes) : 0,
    major: header.major,
    minor: header.minor,
    xattrs: xattrsOf(pax),
  };
}

/** Tars older than POSIX mark directories by a slash at the end only. */
function kindOf(header: TarHeader, name: string): TarKind | undefined {
  const kind = KINDS[header.type];
  return kind === 'file' && name.endsWith('/') ? 'directory' : kind;
}

function paxNumber(pax: PaxRecords, key: string, fallback: number): number {
  const value = pax.get(key);
  return value === undefined ? fallback : paxInteger(value, key);
}

function paxInteger(value: Uint8Array, key: string): number {
  const text = byteString(value);
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) {
    throw malformed(`a PAX header has the ${key} "${byteText(text)}", which is no number`);
  }
  return number;
}

function paxTimeMs(text: string): number {
  const seconds = Number(text);
  if (!/^-?\d+(\.\d*)?$/.test(text) || Math.abs(seconds) > Number.MAX_SAFE_INTEGER / 1000) {
    throw malformed(`a PAX header has the mtime "${byteText(text)}", which is no time`);
  }
  return seconds * 1000;
}

function xattrsOf(pax: PaxRecords): ReadonlyMap<string, Uint8Array> {
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of pax) {
    if (key.startsWith(XATTR_PREFIX)) xattrs.set(byteText(key.slice(XATTR_PREFIX.length)), value);
  }
  return xattrs;
}

function malformed(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
