import { HatobaError } from '../../common/errors.js';
import { byteString, byteText, tarNumber } from './tar-number.js';
import { OldSparseMap, PaxSparseMap, TextSparseMap, type SparseMapReader } from './tar-sparse.js';

export { byteString, byteText };

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
  /** The same, exact. */
  readonly mtimeNs: bigint;
  /** Length of a file, holes included; 0 for all but files. */
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
  /** Of type "S" only. */
  readonly sparse?: OldSparseMap;
}

export const TAR_BLOCK_BYTES = 512;
const KINDS: Readonly<Record<string, TarKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
};
const XATTR_PREFIX = 'SCHILY.xattr.';
/** libarchive's: names encoded as in URLs, values in base64. */
const ENCODED_XATTR_PREFIX = 'LIBARCHIVE.xattr.';
const NANOS_PER_SECOND = 1_000_000_000n;
/** The kernel's -1 means "leave it", so it is no owner. */
const MAX_ID = 0xffff_fffe;

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
  const mtime = tarNumber(block, 136, 12);
  return {
    name: prefix === '' ? base : `${prefix}/${base}`,
    type,
    linkName: byteString(block, 157, 257),
    mode: tarNumber(block, 100, 8) & 0o7777,
    uid: nonNegative(tarNumber(block, 108, 8), 'uid'),
    gid: nonNegative(tarNumber(block, 116, 8), 'gid'),
    sizeBytes: nonNegative(tarNumber(block, 124, 12), 'size'),
    mtimeMs: mtime * 1000,
    mtimeNs: BigInt(mtime) * NANOS_PER_SECOND,
    major: type === '3' || type === '4' ? tarNumber(block, 329, 8) : 0,
    minor: type === '3' || type === '4' ? tarNumber(block, 337, 8) : 0,
    ...(type === 'S' && { sparse: new OldSparseMap(block) }),
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

function nonNegative(value: number, what: string): number {
  if (value < 0) throw malformed(`a header has the negative ${what} ${value}`);
  return value;
}

/** Records of a PAX header: keyword → raw value. */
export type PaxRecords = ReadonlyMap<string, Uint8Array>;

/** Sparse files in version 0.0 repeat these two; together they are the map of version 0.1. */
const REPEATED = new Set(['GNU.sparse.offset', 'GNU.sparse.numbytes']);
const SPARSE_MAP = 'GNU.sparse.map';

/**
 * Decodes the content of a PAX header ("LENGTH KEY=VALUE\n" …).
 * @throws {HatobaError} invalid-argument when a record does not have its own length
 */
export function parsePaxRecords(content: Uint8Array): PaxRecords {
  const records = new Map<string, Uint8Array>();
  const sparseMap: string[] = [];
  for (let start = 0; start < content.length;) {
    const space = content.indexOf(0x20, start);
    const digits = space === -1 || space - start > 10 ? '' : byteString(content, start, space);
    const end = start + Number(digits);
    const isWhole = /^\d+$/.test(digits) && end > space && end <= content.length;
    const equals = content.indexOf(0x3d, space);
    if (!isWhole || equals === -1 || equals >= end || content[end - 1] !== 0x0a) {
      throw malformed('a PAX header has a malformed record');
    }
    const key = byteString(content, space + 1, equals);
    if (REPEATED.has(key)) sparseMap.push(byteString(content, equals + 1, end - 1));
    else records.set(key, content.slice(equals + 1, end - 1));
    start = end;
  }
  if (sparseMap.length > 0) records.set(SPARSE_MAP, new TextEncoder().encode(sparseMap.join(',')));
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
  const name = text('GNU.sparse.name') ?? text('path') ?? extensions.longName ?? header.name;
  const kind = kindOf(header, name);
  if (kind === undefined) {
    const type = `type "${byteText(header.type)}"`;
    throw malformed(`entry "${byteText(name)}" is of ${type}, which Hatoba cannot unpack`);
  }
  const mtime = text('mtime');
  const mtimeNs = mtime === undefined ? header.mtimeNs : paxTimeNs(mtime);
  return {
    name,
    kind,
    linkName: text('linkpath') ?? extensions.longLink ?? header.linkName,
    mode: header.mode,
    uid: ownerId(paxNumber(pax, 'uid', header.uid), 'uid', name),
    gid: ownerId(paxNumber(pax, 'gid', header.gid), 'gid', name),
    mtimeMs: Number(mtimeNs) / 1e6,
    mtimeNs,
    sizeBytes: kind === 'file' ? fileSize(header, pax) : 0,
    major: header.major,
    minor: header.minor,
    xattrs: xattrsOf(pax),
  };
}

/** How many bytes of an entry follow in the tar; less than its size where it is sparse. */
export function storedSize(header: TarHeader, { pax }: TarExtensions): number {
  return paxNumber(pax, 'size', header.sizeBytes);
}

/** The map of a sparse file, whole or not; undefined for an ordinary file. */
export function sparseMapOf(
  header: TarHeader,
  { pax }: TarExtensions,
): SparseMapReader | undefined {
  if (header.sparse !== undefined) return header.sparse;
  const map = pax.get(SPARSE_MAP);
  if (map !== undefined) return new PaxSparseMap(map);
  const major = pax.get('GNU.sparse.major');
  if (major === undefined) return undefined;
  if (byteString(major) === '1') return new TextSparseMap();
  throw malformed(`a sparse file is in version "${byteText(byteString(major))}" of the format`);
}

function fileSize(header: TarHeader, pax: PaxRecords): number {
  if (header.sparse !== undefined) return nonNegative(header.sparse.realSizeBytes, 'real size');
  const real = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size');
  return real === undefined
    ? paxNumber(pax, 'size', header.sizeBytes)
    : paxInteger(real, 'real size');
}

function ownerId(id: number, what: string, name: string): number {
  if (id <= MAX_ID) return id;
  throw malformed(`entry "${byteText(name)}" has the ${what} ${id}, which no Linux has`);
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

/** "-1.25" → -1_250_000_000n; digits beyond nanoseconds are cut off. */
function paxTimeNs(text: string): bigint {
  const [, sign = '', seconds = '', fraction = ''] =
    /^(-?)(\d{1,16})(?:\.(\d*))?$/.exec(text) ?? [];
  if (seconds === '' || Number(seconds) > Number.MAX_SAFE_INTEGER / 1000) {
    throw malformed(`a PAX header has the mtime "${byteText(text)}", which is no time`);
  }
  const nanos = BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  const value = BigInt(seconds) * NANOS_PER_SECOND + nanos;
  return sign === '' ? value : -value;
}

function xattrsOf(pax: PaxRecords): ReadonlyMap<string, Uint8Array> {
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of pax) {
    if (!key.startsWith(ENCODED_XATTR_PREFIX)) continue;
    xattrs.set(decodeName(key.slice(ENCODED_XATTR_PREFIX.length)), decodeBase64(value));
  }
  for (const [key, value] of pax) {
    if (key.startsWith(XATTR_PREFIX)) xattrs.set(byteText(key.slice(XATTR_PREFIX.length)), value);
  }
  return xattrs;
}

function decodeName(encoded: string): string {
  const bytes = encoded.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return byteText(bytes);
}

function decodeBase64(value: Uint8Array): Uint8Array {
  try {
    return Uint8Array.from(atob(byteString(value)), (char) => char.charCodeAt(0));
  } catch (cause) {
    const message = 'a PAX header has an attribute that is no base64';
    throw new HatobaError('invalid-argument', message, { cause });
  }
}

function malformed(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
