import { TAR_BLOCK_BYTES, type TarEntry, type TarKind } from './tar-header.js';

const TYPES: Readonly<Record<TarKind, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
};
const XATTR_PREFIX = 'SCHILY.xattr.';
const MAX_NAME_BYTES = 100;
/** What seven and eleven octal digits hold. */
const MAX_ID = 0o7777777;
const MAX_SIZE_BYTES = 0o77777777777;
const NANOS_PER_SECOND = 1_000_000_000n;

/** Two blocks of zeros end a tar. */
export const TAR_END = new Uint8Array(2 * TAR_BLOCK_BYTES);

/** Zeros up to the next block, after the content of an entry. */
export function tarPadding(sizeBytes: number): Uint8Array {
  return new Uint8Array((TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES);
}

/**
 * The header of an entry, with a PAX header before it where ustar alone cannot say it. Names are
 * byte strings and written as the bytes they are; extended attributes are kept byte for byte. (The
 * tar-stream library writes both as UTF-8, which breaks them.) Times are cut to whole seconds, as
 * Docker's are: a PAX header for nearly every file would double the size of small ones.
 */
export function encodeTarEntry(entry: TarEntry): Uint8Array {
  const mtime = wholeSeconds(entry.mtimeNs);
  const records: Uint8Array[] = [];
  const add = (key: string, value: Uint8Array): void => {
    records.push(encodePaxRecord(key, value));
  };
  if (entry.name.length > MAX_NAME_BYTES) add('path', toBytes(entry.name));
  if (entry.linkName.length > MAX_NAME_BYTES) add('linkpath', toBytes(entry.linkName));
  if (entry.sizeBytes > MAX_SIZE_BYTES) add('size', toBytes(String(entry.sizeBytes)));
  if (entry.uid > MAX_ID) add('uid', toBytes(String(entry.uid)));
  if (entry.gid > MAX_ID) add('gid', toBytes(String(entry.gid)));
  if (mtime < 0 || mtime > MAX_SIZE_BYTES) add('mtime', toBytes(String(mtime)));
  for (const [name, value] of entry.xattrs) add(`${XATTR_PREFIX}${name}`, value);
  const header = encodeHeader({ ...entry, type: TYPES[entry.kind], mtime });
  if (records.length === 0) return header;
  const content = concat(records);
  const extension = encodeHeader({
    type: 'x',
    name: 'PaxHeader',
    linkName: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    sizeBytes: content.length,
    mtime: 0,
    major: 0,
    minor: 0,
  });
  return concat([extension, content, tarPadding(content.length), header]);
}

/** Rounded down, also before 1970. */
function wholeSeconds(nanos: bigint): number {
  const rest = ((nanos % NANOS_PER_SECOND) + NANOS_PER_SECOND) % NANOS_PER_SECOND;
  return Number((nanos - rest) / NANOS_PER_SECOND);
}

interface HeaderFields {
  readonly type: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
}

/** One block of ustar; what does not fit is cut, and then said by the PAX header. */
function encodeHeader(fields: HeaderFields): Uint8Array {
  const block = new Uint8Array(TAR_BLOCK_BYTES);
  const text = (at: number, value: string): void => {
    block.set(toBytes(value), at);
  };
  const octal = (at: number, width: number, value: number): void => {
    text(at, value.toString(8).padStart(width - 1, '0'));
  };
  text(0, fields.name.slice(0, MAX_NAME_BYTES));
  octal(100, 8, fields.mode);
  octal(108, 8, fields.uid > MAX_ID ? 0 : fields.uid);
  octal(116, 8, fields.gid > MAX_ID ? 0 : fields.gid);
  octal(124, 12, fields.sizeBytes > MAX_SIZE_BYTES ? 0 : fields.sizeBytes);
  octal(136, 12, Math.max(0, Math.min(MAX_SIZE_BYTES, fields.mtime)));
  text(148, ' '.repeat(8));
  text(156, fields.type);
  text(157, fields.linkName.slice(0, MAX_NAME_BYTES));
  text(257, 'ustar\u{0}00');
  octal(329, 8, fields.major);
  octal(337, 8, fields.minor);
  const sum = block.reduce((total, byte) => total + byte, 0);
  text(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

/** "LENGTH KEY=VALUE\n", where the length counts its own digits too. */
function encodePaxRecord(key: string, value: Uint8Array): Uint8Array {
  const middle = concat([new TextEncoder().encode(` ${key}=`), value, toBytes('\n')]);
  let length = middle.length;
  while (String(length).length + middle.length !== length) {
    length = String(length).length + middle.length;
  }
  return concat([toBytes(String(length)), middle]);
}

function toBytes(byteString: string): Uint8Array {
  return Uint8Array.from(byteString, (char) => char.charCodeAt(0));
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
