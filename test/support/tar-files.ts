import { encodeTarEntry, tarPadding, TAR_END } from '../../runtime/core/tar-writer.js';
import type { TarEntry } from '../../runtime/core/tar-header.js';
import { TarReader } from '../../runtime/core/tar-reader.js';

/** An entry of a tar with its content; what a test does not say is as usual. */
export interface TarFile extends Partial<Omit<TarEntry, 'sizeBytes'>> {
  name: string;
  content?: string | Uint8Array;
}

/** A whole tar in memory. */
export function tarOf(files: readonly TarFile[]): Buffer {
  return Buffer.concat([...files.flatMap(encode), TAR_END]);
}

/** The entries of a tar, with their content. */
export function untar(tar: Uint8Array): (TarEntry & { content: Buffer })[] {
  const reader = new TarReader();
  const files: { entry: TarEntry; parts: Buffer[] }[] = [];
  for (const event of reader.push(tar)) {
    if (event.type === 'entry') files.push({ entry: event.entry, parts: [] });
    if (event.type === 'content') files.at(-1)?.parts.push(Buffer.from(event.bytes));
    if (event.type === 'hole') files.at(-1)?.parts.push(Buffer.alloc(event.sizeBytes));
  }
  reader.end();
  return files.map(({ entry, parts }) => ({ ...entry, content: Buffer.concat(parts) }));
}

/** Everything a stream gives. */
export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** A stream of pieces, cut where a test wants. */
export async function* inPieces(bytes: Uint8Array, pieceBytes = 64 * 1024): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    yield await Promise.resolve(Buffer.from(bytes.subarray(at, at + pieceBytes)));
  }
}

function encode({ content = '', ...file }: TarFile): Uint8Array[] {
  const bytes = Buffer.from(content);
  const kind = file.kind ?? 'file';
  const entry: TarEntry = {
    kind,
    linkName: '',
    mode: kind === 'directory' ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    mtimeMs: 0,
    mtimeNs: 0n,
    major: 0,
    minor: 0,
    xattrs: new Map(),
    ...file,
    sizeBytes: bytes.length,
  };
  return [encodeTarEntry(entry), bytes, tarPadding(bytes.length)];
}
