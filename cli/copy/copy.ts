import { createGunzip } from 'node:zlib';
import { Readable } from 'node:stream';
import { HatobaError, isKind } from '../../common/errors.js';
import { fileCalls } from '../../linux/file-calls.js';
import type { ContainerCopyToInput, PathStat } from '../../proto/gen/hatoba/v1/engine.js';
import { readStream, sendStream } from '../../proto/wire/client.js';
import { RootedTree, toByteString } from '../../runtime/files/rooted-tree.js';
import { topNameOf } from '../../runtime/files/top-name.js';
import { inChunks, packTree } from '../../runtime/files/tree-packer.js';
import { TreeUnpacker } from '../../runtime/files/tree-unpacker.js';
import type { EngineSession } from '../engine-session.js';
import { UsageError } from '../failure.js';
import { planUnpack, type CopyPlace, type CopyWords } from './words.js';

const TYPE_BITS = 0o170000;
const DIRECTORY = 0o040000;
const FILE = 0o100000;
const LINK = 0o120000;
const GZIP_MAGIC = Buffer.of(0x1f, 0x8b);

export interface CopyFlags {
  /** A link that is the source itself is followed. */
  readonly followLink: boolean;
  /** Owners are kept. */
  readonly archive: boolean;
}

/** Copies between this machine and a container. @returns bytes of the tar that was sent */
export function copy(words: CopyWords, flags: CopyFlags, session: EngineSession): Promise<number> {
  return words.direction === 'from'
    ? copyFrom(words, flags, session)
    : copyTo(words, flags, session);
}

async function copyFrom(
  { container, source, target }: CopyWords,
  flags: CopyFlags,
  { engine, signal }: EngineSession,
): Promise<number> {
  const place = target === '-' ? undefined : localPlace(target);
  const request = { container, path: source, followLink: flags.followLink };
  const messages = readStream(engine.containerCopyFrom(request), signal);
  let sink: { push: (bytes: Uint8Array) => void | Promise<void>; end: () => void } | undefined;
  let bytes = 0;
  for await (const { output } of messages) {
    if (output?.$case === 'stat') {
      sink =
        place === undefined
          ? toStdout()
          : localUnpacker(source, output.value, place, flags.archive);
    } else if (output?.$case === 'chunk') {
      bytes += output.value.length;
      await sink?.push(output.value);
    }
  }
  sink?.end();
  return bytes;
}

async function copyTo(
  { container, source, target }: CopyWords,
  flags: CopyFlags,
  session: EngineSession,
): Promise<number> {
  const { engine, signal } = session;
  const place = await containerPlace(container, target, session);
  let path = place.path;
  let tar: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  if (source === '-') {
    if (!place.isDirectory) {
      throw new UsageError(`${container}:${target} must be a directory to unpack a tar in`);
    }
    tar = unzipped(process.stdin);
  } else {
    const packed = packLocal(source, flags.followLink, place);
    path = packed.directory;
    tar = packed.tar;
  }
  let bytes = 0;
  async function* inputs(): AsyncGenerator<ContainerCopyToInput> {
    const start = { container, path, copyOwners: flags.archive };
    yield { input: { $case: 'start', value: start } };
    for await (const chunk of tar) {
      bytes += chunk.length;
      yield { input: { $case: 'chunk', value: Buffer.from(chunk) } };
    }
  }
  await sendStream(engine.containerCopyTo.bind(engine), inputs(), { signal });
  return bytes;
}

/** What a path of the container is; a link is followed to what it means. */
async function containerPlace(
  container: string,
  path: string,
  session: EngineSession,
): Promise<CopyPlace> {
  let stat = await statIn(container, path, session);
  let place = path;
  if (stat !== undefined && (stat.mode & TYPE_BITS) === LINK) {
    place = stat.linkTarget;
    stat = await statIn(container, place, session);
  }
  const type = stat === undefined ? undefined : stat.mode & TYPE_BITS;
  if (type !== undefined && type !== DIRECTORY && type !== FILE) {
    throw new UsageError(`${container}:${path} must be a directory or an ordinary file`);
  }
  return { path: place, exists: type !== undefined, isDirectory: type === DIRECTORY };
}

/** The first message tells it; the rest is not asked for. */
async function statIn(
  container: string,
  path: string,
  { engine, signal }: EngineSession,
): Promise<PathStat | undefined> {
  try {
    const request = { container, path, followLink: false };
    for await (const { output } of readStream(engine.containerCopyFrom(request), signal)) {
      if (output?.$case === 'stat') return output.value;
    }
    return undefined;
  } catch (error) {
    if (isKind(error, 'not-found') && !isNoContainer(error)) return undefined;
    throw error;
  }
}

/** A path that is not there is named with its container before it; see ContainerTrees. */
function isNoContainer(error: unknown): boolean {
  return error instanceof Error && !/no such file or directory$/.test(error.message);
}

/** The tar of a path of this machine, ready for where it goes. */
function packLocal(
  source: string,
  followLink: boolean,
  target: CopyPlace,
): { directory: string; tar: Iterable<Uint8Array> } {
  const tree = new RootedTree('/');
  const top = tree.find(absolute(source), { followLast: followLink });
  const isDirectory = top.stat.isDirectory();
  const plan = planUnpack({ path: source, exists: true, isDirectory }, target);
  const topName = toByteString(plan.rename ?? topNameOf(source));
  return {
    directory: plan.directory,
    tar: inChunks(packTree(tree, top, { topName, calls: fileCalls })),
  };
}

function localPlace(target: string): CopyPlace {
  const tree = new RootedTree('/');
  try {
    const walked = tree.walk(absolute(target), { followLast: true });
    if ('node' in walked) {
      const { path, stat } = walked.node;
      walked.node[Symbol.dispose]();
      return { path: toText(path), exists: true, isDirectory: stat.isDirectory() };
    }
    const { parent, missing } = walked;
    parent[Symbol.dispose]();
    // What the user wrote after the name ("/", "/.") still counts.
    const end = /(\/+\.?)*$/.exec(target)?.[0] ?? '';
    const path = `${parent.path === '/' ? '' : parent.path}/${missing}`;
    return { path: toText(path) + end, exists: false, isDirectory: false };
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    throw new HatobaError('not-found', `the directory of ${target} is not there`, {
      cause: undefined,
    });
  } finally {
    tree[Symbol.dispose]();
  }
}

/** Links that are in the way, and those of the container itself, are never written through. */
function localUnpacker(
  source: string,
  stat: PathStat,
  target: CopyPlace,
  keepOwners: boolean,
): { push: (bytes: Uint8Array) => void; end: () => void } {
  const isDirectory = (stat.mode & TYPE_BITS) === DIRECTORY;
  const plan = planUnpack({ path: source, exists: true, isDirectory }, target);
  const tree = new RootedTree(plan.directory);
  const top = tree.find('/', { followLast: true });
  const unpacker = new TreeUnpacker(tree, top, {
    calls: fileCalls,
    ownerOf: (entry) => (keepOwners ? entry : undefined),
    followLinks: false,
    ...(plan.rename !== undefined && {
      rename: { from: toByteString(stat.name), to: toByteString(plan.rename) },
    }),
  });
  return { push: (bytes) => unpacker.push(bytes), end: () => unpacker.end() };
}

function toStdout(): { push: (bytes: Uint8Array) => Promise<void>; end: () => void } {
  if (process.stdout.isTTY) {
    throw new UsageError('a tar is nothing for a terminal: write it to a file or a pipe');
  }
  return {
    push: (bytes) =>
      new Promise((resolve) => {
        if (process.stdout.write(bytes)) resolve();
        else process.stdout.once('drain', resolve);
      }),
    end: () => undefined,
  };
}

/** A tar on stdin may be compressed by gzip. */
async function* unzipped(stream: Readable): AsyncGenerator<Uint8Array> {
  const chunks = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < GZIP_MAGIC.length) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  async function* all(): AsyncGenerator<Buffer> {
    yield head;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      yield next.value;
    }
  }
  const isGzip = head.subarray(0, GZIP_MAGIC.length).equals(GZIP_MAGIC);
  if (isGzip) yield* Readable.from(all()).pipe(createGunzip()) as AsyncIterable<Buffer>;
  else yield* all();
}

function absolute(path: string): string {
  return toByteString(path.startsWith('/') ? path : `${process.cwd()}/${path}`);
}

function toText(byteString: string): string {
  return Buffer.from(byteString, 'latin1').toString('utf8');
}
