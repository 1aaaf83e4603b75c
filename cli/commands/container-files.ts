import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { formatBytes } from '../../common/bytes.js';
import { readStream, unary } from '../../proto/wire/client.js';
import { parseCopyWords } from '../copy/words.js';
import { withEngine } from '../engine-session.js';
import { UsageError } from '../failure.js';
import { note, print } from '../output/print.js';

const KINDS: Readonly<Record<string, string>> = { added: 'A', changed: 'C', deleted: 'D' };

interface CpFlags {
  followLink: boolean;
  archive: boolean;
  quiet: boolean;
}

/** `hatoba cp|export|diff`: the files of containers of this node. */
export function registerContainerFiles(program: Command): void {
  program
    .command('cp <source> <target>')
    .summary('copy files between a container and this machine')
    .description(
      'copy files between a container and this machine: CONTAINER:PATH and PATH, either way; "-" is a tar on stdin or stdout',
    )
    .option('-a, --archive', 'keep owners', false)
    .option('-L, --follow-link', 'follow a link that is the source itself', false)
    .option('-q, --quiet', 'say nothing of what was copied', false)
    .action((source: string, target: string, flags: CpFlags) => cp(source, target, flags));
  program
    .command('export <container>')
    .description("write a container's whole root file system as a tar")
    .option('-o, --output <file>', 'where to; stdout if none is named')
    .action((container: string, { output }: { output?: string }) =>
      exportContainer(container, output),
    );
  program
    .command('diff <container>')
    .description('show what a container has changed: A(dded), C(hanged), D(eleted)')
    .action((container: string) =>
      withEngine(async ({ engine, signal }) => {
        const call = unary(engine.containerDiff.bind(engine), { container }, { signal });
        const { changes } = await call;
        print(changes.map(({ kind, path }) => `${KINDS[kind] ?? '?'} ${path}`).join('\n'));
      }),
    );
}

async function cp(source: string, target: string, flags: CpFlags): Promise<void> {
  const words = parseCopyWords(source, target);
  const { copy } = await import('../copy/copy.js');
  await withEngine(async (session) => {
    const bytes = await copy(words, flags, session);
    const isSilent = flags.quiet || (words.direction === 'from' && words.target === '-');
    const to = words.direction === 'from' ? words.target : `${words.container}:${words.target}`;
    if (!isSilent) note(`Successfully copied ${formatBytes(bytes)} to ${to}`);
  });
}

async function exportContainer(container: string, output: string | undefined): Promise<void> {
  if (output === undefined && process.stdout.isTTY) {
    throw new UsageError('a tar is nothing for a terminal: name a file with -o, or use a pipe');
  }
  await withEngine(async ({ engine, signal }) => {
    async function* chunks(): AsyncGenerator<Buffer> {
      for await (const { data } of readStream(engine.containerExport({ container }), signal)) {
        yield data;
      }
    }
    if (output === undefined) {
      await pipeline(chunks, process.stdout, { end: false });
      return;
    }
    // Appears whole or not at all.
    const draft = `${output}.part`;
    try {
      await pipeline(chunks, createWriteStream(draft));
      await rename(draft, output);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  });
}
