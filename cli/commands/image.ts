import { createReadStream } from 'node:fs';
import type { Command } from 'commander';
import { formatBytes } from '../../common/bytes.js';
import { HatobaError } from '../../common/errors.js';
import type { ImageLoadInput } from '../../proto/gen/hatoba/v1/agent.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { readStream, sendStream, unary } from '../../proto/wire/client.js';
import { formatListing, type Listing } from '../output/listing.js';
import { note, print } from '../output/print.js';
import { Progress } from '../output/progress.js';
import { imageRow, type ImageRow } from '../output/rows.js';
import { withControl, type Session } from '../session.js';
import { asListing, collect, type ListingOptions } from './options.js';

const IMAGES: Listing<ImageRow> = {
  key: (i) => i.id,
  columns: [
    { title: 'REPOSITORY:TAG', value: (i) => i.tags.join(', ') || '<none>' },
    { title: 'ID', value: (i) => i.id.replace('sha256:', '').slice(0, 12) },
    { title: 'SIZE', value: (i) => formatBytes(i.sizeBytes) },
    { title: 'NODES', value: (i) => i.nodes.join(' ') },
    { title: 'PLATFORM', value: (i) => i.platform, wide: true },
    { title: 'CREATED', value: (i) => i.createdAt ?? '', wide: true },
  ],
};

/** `hatoba image ls|load|pull`. */
export function registerImage(program: Command): void {
  const image = program.command('image').description('images on the nodes');
  asListing(image.command('ls').description('list images')).action((options: ListingOptions) =>
    withControl((session) => printImages(session, options)),
  );
  image
    .command('load [file]')
    .description('load an archive (docker save, OCI layout) on every ready node')
    .option('-i, --input <file>', 'the archive; stdin if none is named')
    .option('--node <node>', 'only this node; may be given several times', collect, [])
    .action((file: string | undefined, flags: { input?: string; node: string[] }) =>
      withControl((session) => load(session, file ?? flags.input, flags.node)),
    );
  image
    .command('pull <reference>')
    .description('pull an image on every ready node')
    .option('--node <node>', 'only this node; may be given several times', collect, [])
    .action((reference: string, flags: { node: string[] }) =>
      withControl((session) => pull(session, reference, flags.node)),
    );
}

async function printImages(session: Session, options: ListingOptions): Promise<void> {
  const { control, signal } = session;
  const { nodes } = await unary(control.imageList.bind(control), {}, { signal });
  const byId = new Map<string, { image: Image; nodes: string[] }>();
  for (const node of nodes) {
    if (node.err !== '') note(`${node.hostname}: ${node.err}`);
    for (const image of node.images) {
      const entry = byId.get(image.id) ?? { image, nodes: [] };
      entry.nodes.push(node.hostname);
      byId.set(image.id, entry);
    }
  }
  const rows = [...byId.values()].map(({ image, nodes: on }) => imageRow(image, on.sort()));
  rows.sort((a, b) => (a.tags[0] ?? '').localeCompare(b.tags[0] ?? ''));
  print(formatListing(rows, IMAGES, options));
}

async function load(session: Session, file: string | undefined, nodes: string[]): Promise<void> {
  const { control, signal } = session;
  const { results } = await sendStream(control.imageLoad.bind(control), archive(file, nodes), {
    signal,
  });
  for (const { hostname, images, err } of results) {
    if (err !== '') note(`${hostname}: ${err}`);
    for (const image of images)
      print(`${hostname}: loaded ${image.repoTags.join(', ') || image.id}`);
  }
  failIfAny(
    results.filter((r) => r.err !== '').map((r) => r.hostname),
    'load',
  );
}

async function* archive(file: string | undefined, nodes: string[]): AsyncGenerator<ImageLoadInput> {
  yield { input: { $case: 'start', value: { nodes } } };
  const source =
    file === undefined || file === '-'
      ? process.stdin
      : createReadStream(file, { highWaterMark: 256 * 1024 });
  for await (const chunk of source) yield { input: { $case: 'chunk', value: chunk as Buffer } };
}

async function pull(session: Session, reference: string, nodes: string[]): Promise<void> {
  const { control, signal } = session;
  const progress = new Progress(process.stderr);
  const lines = new Map<string, string>();
  const failed: string[] = [];
  const call = control.imagePull({ reference, nodes, auth: undefined });
  for await (const p of readStream(call, signal)) {
    if (p.err !== '') {
      failed.push(p.hostname);
      note(`${p.hostname}: ${p.err}`);
    } else if (p.image !== undefined) print(`${p.hostname}: ${p.image.id}`);
    else if (p.layer !== '') {
      const size = p.totalBytes > 0 ? ` of ${formatBytes(p.totalBytes)}` : '';
      const key = `${p.hostname} ${p.layer.replace('sha256:', '').slice(0, 12)}`;
      const done =
        p.status === 'downloading' && process.stderr.isTTY ? ` ${formatBytes(p.currentBytes)}` : '';
      lines.set(key, `${key} ${p.status}${done}${size}`);
      progress.show(lines);
    }
  }
  failIfAny(failed, 'pull');
}

function failIfAny(hostnames: readonly string[], what: string): void {
  if (hostnames.length > 0) {
    throw new HatobaError('internal', `${what} failed on ${hostnames.join(', ')}`);
  }
}
