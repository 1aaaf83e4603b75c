import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { HatobaError } from '../../common/errors.js';
import { digestOfHex, type Digest } from '../core/digest.js';
import { LayerTree } from '../core/layer-tree.js';
import { byteText, type TarEntry } from '../core/tar-header.js';
import { TarReader, type TarEvent } from '../core/tar-reader.js';
import { decompress } from './compression.js';
import { LayerWriter, type LayerFiles } from './layer-writer.js';

export interface UnpackJob {
  /** The layer's tar, compressed or not. */
  readonly blobPath: string;
  /** An empty folder. */
  readonly targetDir: string;
  readonly limits: UnpackLimits;
}

export interface UnpackLimits {
  readonly maxEntries: number;
  /** Of the uncompressed tar. */
  readonly maxBytes: number;
  /** Of the paths of directories the tar says nothing of: few bytes of it can imply very many. */
  readonly maxImpliedBytes: number;
}

export interface UnpackResult {
  /** SHA-256 of the uncompressed tar. */
  readonly diffId: Digest;
  /** Length of the uncompressed tar. */
  readonly sizeBytes: number;
  readonly entries: number;
  readonly skippedXattrs: number;
  /** See LayerTree.impliedDirectories. */
  readonly impliedDirectories: readonly string[];
}

/** What unpacking needs of its surroundings. */
export interface UnpackContext {
  readonly files: LayerFiles;
  /** Told of bytes of the blob read so far, every few megabytes. */
  readonly onProgress: (blobBytes: number) => void;
  /** Asked between pieces; throws to end the job. */
  readonly throwIfCancelled: () => void;
}

const READ_BYTES = 256 * 1024;
const PROGRESS_BYTES = 8 * 1024 * 1024;

/**
 * Unpacks one layer into a folder in overlayfs's form. Synchronous file work: for worker threads.
 * On failure the folder is left half written, for the caller to delete.
 * @throws {HatobaError} invalid-argument for a malformed or hostile tar; resource-exhausted beyond a
 *   limit or without disk space
 */
export async function unpackLayer(job: UnpackJob, context: UnpackContext): Promise<UnpackResult> {
  const hash = createHash('sha256');
  const reader = new TarReader();
  const tree = new LayerTree(job.limits);
  const writer = new LayerWriter(job.targetDir, context.files);
  let sizeBytes = 0;
  try {
    for await (const chunk of decompress(readBlob(job.blobPath, context.onProgress))) {
      context.throwIfCancelled();
      sizeBytes += chunk.length;
      if (sizeBytes > job.limits.maxBytes) {
        const most = `${job.limits.maxBytes} bytes uncompressed`;
        throw new HatobaError('resource-exhausted', `the layer has more than ${most}`);
      }
      hash.update(chunk);
      for (const event of reader.push(chunk)) take(event, tree, writer, job.limits);
    }
    reader.end();
    for (const { path, mtimeNs } of tree.directoryTimes()) writer.setTime(path, mtimeNs);
  } finally {
    writer.close();
  }
  const { entries } = tree;
  const { skippedXattrs } = writer;
  const diffId = digestOfHex(hash.digest('hex'));
  const impliedDirectories = listImplied(tree, job.limits);
  return { diffId, sizeBytes, entries, skippedXattrs, impliedDirectories };
}

function take(event: TarEvent, tree: LayerTree, writer: LayerWriter, limits: UnpackLimits): void {
  switch (event.type) {
    case 'entry':
      checkLength(event.entry, limits);
      for (const change of tree.plan(event.entry)) writer.apply(change);
      return;
    case 'content':
      writer.write(event.bytes);
      return;
    case 'hole':
      writer.skip(event.sizeBytes);
      return;
    case 'entry-end':
      writer.endFile();
  }
}

/** A sparse file can say to be longer than all of its tar: whoever copies it would fill the disk. */
function checkLength({ name, sizeBytes }: TarEntry, { maxBytes }: UnpackLimits): void {
  if (sizeBytes <= maxBytes) return;
  const text = `entry "${byteText(name)}" has ${sizeBytes} bytes; a layer may have ${maxBytes}`;
  throw new HatobaError('resource-exhausted', text);
}

function listImplied(tree: LayerTree, { maxImpliedBytes }: UnpackLimits): string[] {
  const paths: string[] = [];
  let bytes = 0;
  for (const path of tree.impliedDirectories()) {
    bytes += path.length;
    if (bytes > maxImpliedBytes) {
      const text = 'the layer has too many files in directories without an entry of their own';
      throw new HatobaError('resource-exhausted', text);
    }
    paths.push(path);
  }
  return paths;
}

async function* readBlob(
  path: string,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let read = 0;
  let told = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES })) {
    const bytes = chunk as Buffer;
    read += bytes.length;
    if (read - told >= PROGRESS_BYTES) onProgress((told = read));
    yield bytes;
  }
}
