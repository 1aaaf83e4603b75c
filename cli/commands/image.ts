import { createReadStream } from 'node:fs';
import { Option, type Command } from 'commander';
import { formatBytes } from '../../common/bytes.js';
import { HatobaError } from '../../common/errors.js';
import type { ImageLoadInput } from '../../proto/gen/hatoba/v1/agent.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { readStream, sendStream, unary } from '../../proto/wire/client.js';
import { formatListing, type Listing } from '../output/listing.js';
import { note, print } from '../output/print.js';
import { agoText, imageRow, type ImageRow } from '../output/rows.js';
import { TransferLines } from '../output/transfer-lines.js';
import { credentialsFor } from '../credentials.js';
import { withControl, type Session } from '../session.js';
import { downloadImage, registerLocalImages } from './image-local.js';
import { asListing, collect, type ListingOptions } from './options.js';

const IMAGES: Listing<ImageRow> = {
  key: (i) => i.id,
  columns: [
    { title: 'REPOSITORY:TAG', value: (i) => i.tags.join(', ') || '<none>' },
    { title: 'ID', field: 'ID', value: (i) => i.id.replace('sha256:', '').slice(0, 12) },
    { title: 'SIZE', field: 'Size', value: (i) => formatBytes(i.sizeBytes) },
    { title: 'NODES', value: (i) => i.nodes.join(' ') },
    { title: 'PLATFORM', value: (i) => i.platform, wide: true },
    { title: 'CREATED', value: (i) => i.createdAt ?? '', wide: true },
  ],
  fields: {
    Repository: (i) => repositoryAndTag(i.tags[0])[0],
    Tag: (i) => repositoryAndTag(i.tags[0])[1],
    Digest: (i) => i.digests[0]?.split('@')[1] ?? '<none>',
    CreatedSince: (i) => agoText(i.createdAt, Date.now()),
    CreatedAt: (i) => i.createdAt,
  },
  filters: {
    reference: (i, value) => i.tags.some((tag) => isReferenceLike(tag, value)),
    dangling: (i, value) => String(i.tags.length === 0) === value,
  },
};

function repositoryAndTag(reference = '<none>:<none>'): [repository: string, tag: string] {
  const cut = reference.lastIndexOf(':');
  return [reference.slice(0, cut), reference.slice(cut + 1)];
}

/** "hello-*:1" and "hello-web" (of any tag), as `docker image ls` takes them. */
function isReferenceLike(reference: string, pattern: string): boolean {
  const [repository] = repositoryAndTag(reference);
  const parts = pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&'));
  const shape = new RegExp(`^${parts.join('[^/]*')}$`);
  return shape.test(reference) || shape.test(repository);
}

/** `hatoba image ls|load|pull` act on the nodes of the cluster, the others on this node. */
export function registerImage(program: Command): void {
  const image = program.command('image').description('images on the nodes');
  asListing(image.command('ls [reference]').description('list images')).action(
    (reference: string | undefined, options: ListingOptions) => {
      const named = reference === undefined ? [] : [`reference=${reference}`];
      const filter = [...options.filter, ...named];
      return withControl((session) => printImages(session, { ...options, filter }));
    },
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
    .description('pull an image on every ready node, or into an archive')
    .option('--node <node>', 'only this node; may be given several times', collect, [])
    .option('-o, --output <file>', 'only write an archive; "-" is stdout')
    .addOption(
      new Option('--format <format>', 'of that archive')
        .choices(['docker-archive', 'oci'])
        .default('docker-archive'),
    )
    .option('--platform <os/arch>', 'another one than the node has, for example linux/arm64', '')
    .action((reference: string, flags: PullFlags) => {
      const { output } = flags;
      if (output !== undefined) return downloadImage(reference, { ...flags, output });
      return withControl((session) => pull(session, reference, flags));
    });
  registerLocalImages(image);
}

interface PullFlags {
  node: string[];
  output?: string;
  format: string;
  platform: string;
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

async function pull(session: Session, reference: string, flags: PullFlags): Promise<void> {
  const { config, control, signal } = session;
  const { node: nodes, platform } = flags;
  const lines = new TransferLines();
  const failed: string[] = [];
  const auth = await credentialsFor(config, reference);
  const call = control.imagePull({ reference, nodes, auth, platform });
  for await (const p of readStream(call, signal)) {
    if (p.err !== '') {
      failed.push(p.hostname);
      note(`${p.hostname}: ${p.err}`);
    } else if (p.image !== undefined) print(`${p.hostname}: ${p.image.id}`);
    else lines.show(p);
  }
  failIfAny(failed, 'pull');
}

function failIfAny(hostnames: readonly string[], what: string): void {
  if (hostnames.length > 0) {
    throw new HatobaError('internal', `${what} failed on ${hostnames.join(', ')}`);
  }
}
