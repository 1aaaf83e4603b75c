import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Option, type Command } from 'commander';
import { formatBytes } from '../../common/bytes.js';
import type {
  Chunk,
  ImageHistoryEntry,
  ImageImportInput,
} from '../../proto/gen/hatoba/v1/engine.js';
import { readStream, sendStream, unary } from '../../proto/wire/client.js';
import { credentialsFor } from '../credentials.js';
import { withEngine } from '../engine-session.js';
import { UsageError } from '../failure.js';
import { forEach } from '../for-each.js';
import { confirm } from '../output/confirm.js';
import { dockerImage } from '../output/docker-inspect.js';
import { formatListing, formatObject, type Listing } from '../output/listing.js';
import { print } from '../output/print.js';
import { agoText, timeText } from '../output/rows.js';
import { TransferLines } from '../output/transfer-lines.js';
import {
  asInspect,
  asListing,
  collect,
  durationOption,
  type InspectOptions,
  type ListingOptions,
} from './options.js';

/** `hatoba image push|save|import|tag|inspect|history|rm|prune`: the images of this node. */
export function registerLocalImages(image: Command): void {
  image
    .command('push <reference>')
    .description('send an image of this node to its registry')
    .option('-q, --quiet', 'only the digest', false)
    .action((reference: string, { quiet }: { quiet: boolean }) => push(reference, quiet));
  image
    .command('tag <source> <target>')
    .description('give an image of this node a further name')
    .action((source: string, target: string) =>
      withEngine(async ({ engine, signal }) => {
        await unary(engine.imageTag.bind(engine), { source, target }, { signal });
      }),
    );
  asInspect(
    image
      .command('inspect <image...>')
      .description('show all of images, with the fields of docker image inspect'),
  ).action((names: string[], options: InspectOptions) =>
    withEngine(async ({ engine, signal }) => {
      const found = [];
      for (const name of names) {
        found.push(
          dockerImage(await unary(engine.imageInspect.bind(engine), { image: name }, { signal })),
        );
      }
      print(formatObject(found, options));
    }),
  );
  asListing(
    image
      .command('history <image>')
      .description('show how an image was made')
      .option('--no-trunc', 'show whole ids and commands'),
  ).action((name: string, options: ListingOptions & { trunc: boolean }) =>
    withEngine(async ({ engine, signal }) => {
      const history = unary(engine.imageHistory.bind(engine), { image: name }, { signal });
      const rows = (await history).entries.map(historyRow);
      print(formatListing(rows, options.trunc ? HISTORY : WHOLE_HISTORY, options));
    }),
  );
  registerArchives(image);
  registerRemovals(image);
}

async function push(reference: string, quiet: boolean): Promise<void> {
  await withEngine(async ({ config, engine, signal }) => {
    const auth = await credentialsFor(config, reference);
    const lines = new TransferLines();
    let digest = '';
    for await (const p of readStream(engine.imagePush({ reference, auth }), signal)) {
      if (p.image !== undefined) digest = p.image.repoDigests[0] ?? '';
      else if (!quiet) lines.show(p);
    }
    print(digest);
  });
}

function registerArchives(image: Command): void {
  const format = (): Option =>
    new Option('--format <format>', 'of the archive')
      .choices(['docker-archive', 'oci'])
      .default('docker-archive');
  image
    .command('save <image...>')
    .description('write images of this node to an archive')
    .option('-o, --output <file>', 'the archive; stdout if none is named')
    .addOption(format())
    .action((images: string[], flags: { output?: string; format: string }) =>
      withEngine(async ({ engine, signal }) => {
        const call = engine.imageSave({ images, format: flags.format });
        await writeArchive(readStream(call, signal), flags.output);
      }),
    );
  image
    .command('import <file> [reference]')
    .description('make an image of the tar of a root file system; "-" is stdin')
    .option('-c, --change <instruction>', 'a Dockerfile instruction such as CMD', collect, [])
    .option('-m, --message <text>', 'a comment for its history', '')
    .option('--platform <os/arch>', 'of what is in it', '')
    .action(
      (
        file: string,
        reference: string | undefined,
        flags: { change: string[]; message: string; platform: string },
      ) =>
        withEngine(async ({ engine, signal }) => {
          const { change: changes, message, platform } = flags;
          const start = { reference: reference ?? '', message, changes, platform };
          const input = importInput(file, start);
          const made = await sendStream(engine.imageImport.bind(engine), input, { signal });
          print(made.id);
        }),
    );
}

/**
 * `hatoba image pull --output FILE`: an archive straight from the registry; nothing is kept,
 * unpacked or run.
 */
export async function downloadImage(
  reference: string,
  flags: { output: string; format: string; platform: string },
): Promise<void> {
  await withEngine(async ({ config, engine, signal }) => {
    const auth = await credentialsFor(config, reference);
    const { platform, format } = flags;
    const call = engine.imageDownload({ reference, auth, platform, format });
    await writeArchive(readStream(call, signal), flags.output);
  });
}

/** A file appears whole or not at all. */
async function writeArchive(chunks: AsyncIterable<Chunk>, file: string | undefined): Promise<void> {
  if (file === undefined || file === '-') {
    if (process.stdout.isTTY) {
      throw new UsageError('an archive is not for a terminal: name a file with -o, or redirect');
    }
    await pipeline(bytesOf(chunks), process.stdout, { end: false });
    return;
  }
  const unfinished = `${file}.partial`;
  try {
    await pipeline(bytesOf(chunks), createWriteStream(unfinished));
    await rename(unfinished, file);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

async function* bytesOf(chunks: AsyncIterable<Chunk>): AsyncGenerator<Buffer> {
  for await (const { data } of chunks) yield data;
}

async function* importInput(
  file: string,
  start: { reference: string; message: string; changes: string[]; platform: string },
): AsyncGenerator<ImageImportInput> {
  yield { input: { $case: 'start', value: start } };
  const source: Readable =
    file === '-' ? process.stdin : createReadStream(file, { highWaterMark: 256 * 1024 });
  for await (const chunk of source) yield { input: { $case: 'chunk', value: chunk as Buffer } };
}

function registerRemovals(image: Command): void {
  image
    .command('rm <image...>')
    .description('take names away from images of this node; without a name left they go')
    .option('-f, --force', 'also an image of several names, named by its id', false)
    .action((images: string[], { force }: { force: boolean }) =>
      forEach(images, async ({ engine, signal }, image) => {
        const request = { images: [image], force };
        const done = await unary(engine.imageRemove.bind(engine), request, { signal });
        for (const tag of done.untagged) print(`Untagged: ${tag}`);
        for (const id of done.deleted) print(`Deleted: ${id}`);
      }),
    );
  image
    .command('prune')
    .description('remove images of this node that have no name')
    .option('-a, --all', 'also those with a name, if no container uses them', false)
    .option('-f, --force', 'do not ask', false)
    .option('--older-than <duration>', 'only those made before', durationOption, 0)
    .action((flags: { all: boolean; force: boolean; olderThan: number }) =>
      withEngine(async ({ engine, signal }) => {
        const which = flags.all
          ? 'images that no container uses, and what interrupted pulls left'
          : 'images without a name';
        await confirm(`This will remove all ${which}.`, flags.force);
        const request = { all: flags.all, olderThanMs: flags.olderThan };
        const pruned = await unary(engine.imagePrune.bind(engine), request, { signal });
        print(pruned.removed.map((id) => `Deleted: ${id}`).join('\n'));
        print(`Total reclaimed space: ${formatBytes(pruned.reclaimedBytes)}`);
      }),
    );
}

type HistoryRow = ReturnType<typeof historyRow>;
function historyRow(entry: ImageHistoryEntry) {
  return {
    id: entry.id,
    createdAt: timeText(entry.createdAtMs),
    createdBy: entry.createdBy,
    sizeBytes: entry.sizeBytes,
    comment: entry.comment,
    tags: entry.tags,
  };
}

const HISTORY: Listing<HistoryRow> = {
  key: (h) => h.id,
  columns: [
    { title: 'IMAGE', value: (h) => h.id.replace('sha256:', '').slice(0, 12) },
    { title: 'CREATED', value: (h) => agoText(h.createdAt, Date.now()) },
    { title: 'CREATED BY', value: (h) => h.createdBy.slice(0, 60) },
    { title: 'SIZE', value: (h) => formatBytes(h.sizeBytes) },
    { title: 'COMMENT', value: (h) => h.comment },
  ],
};

const WHOLE_HISTORY: Listing<HistoryRow> = {
  ...HISTORY,
  columns: HISTORY.columns.map((column) => {
    if (column.title === 'IMAGE') return { ...column, value: (h) => h.id };
    return column.title === 'CREATED BY' ? { ...column, value: (h) => h.createdBy } : column;
  }),
};
