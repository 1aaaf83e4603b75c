import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { extract } from 'tar-stream';
import { toDigest } from '../../../../runtime/core/digest.js';
import {
  writeArchive,
  type ArchiveFile,
  type ImageToArchive,
} from '../../../../runtime/image/archive-writer.js';
import { blobOf, streamOf } from '../../../support/image-fixtures.js';

const PLATFORM = { os: 'linux', architecture: 'arm64', variant: 'v8' };

function fileOf(content: string): ArchiveFile {
  const { bytes, digest } = blobOf(content);
  return { digest: toDigest(digest), sizeBytes: bytes.length, open: () => streamOf(bytes, 3) };
}

function documentOf(content: string): ImageToArchive['config'] {
  const { bytes, digest } = blobOf(content);
  return { bytes, digest: toDigest(digest) };
}

function image(names: string[], ...layers: ImageToArchive['layers']): ImageToArchive {
  const manifest = { ...documentOf(`manifest of ${names.join()}`), mediaType: 'a/manifest' };
  return { names, platform: PLATFORM, manifest, config: documentOf('{}'), layers };
}

async function entries(archive: AsyncIterable<Uint8Array>): Promise<Map<string, string>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk);
  const tar = extract();
  tar.end(Buffer.concat(chunks));
  const found = new Map<string, string>();
  for await (const entry of tar) {
    assert.equal(found.has(entry.header.name), false, 'each name once');
    found.set(entry.header.name, await text(entry));
  }
  return found;
}

describe('writing image archives', () => {
  const [base, top] = [
    { blob: fileOf('base') },
    { blob: fileOf('zipped'), plain: fileOf('plain') },
  ];
  const names = ['docker.io/library/web:1', '127.0.0.1:5000/web:2'];
  const images = [image(names, base, top), image([], base)];
  const hex = (content: string): string => blobOf(content).digest.slice('sha256:'.length);

  it('writes what docker load reads: uncompressed layers where they can be had', async () => {
    const found = await entries(writeArchive(images, { format: 'docker-archive' }));
    const paths = [`${hex('base')}.tar`, `${hex('plain')}.tar`];
    assert.deepEqual([...found.keys()], [...paths, `${hex('{}')}.json`, 'manifest.json']);
    assert.equal(found.get(paths[1] ?? ''), 'plain');
    assert.deepEqual(JSON.parse(found.get('manifest.json') ?? ''), [
      { Config: `${hex('{}')}.json`, RepoTags: names, Layers: paths },
      { Config: `${hex('{}')}.json`, RepoTags: [], Layers: [paths[0]] },
    ]);
  });

  it('writes an OCI layout with the blobs as the manifest names them', async () => {
    const found = await entries(writeArchive(images, { format: 'oci' }));
    assert.equal(found.get(`blobs/sha256/${hex('zipped')}`), 'zipped');
    assert.equal(found.get('oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    const index = JSON.parse(found.get('index.json') ?? '') as { manifests: object[] };
    const manifest = `manifest of ${names.join()}`;
    const common = {
      mediaType: 'a/manifest',
      digest: blobOf(manifest).digest,
      size: manifest.length,
      platform: PLATFORM,
    };
    const named = (name: string): object => ({
      ...common,
      annotations: {
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': name,
      },
    });
    assert.deepEqual(index.manifests.slice(0, 2), names.map(named));
    assert.equal(index.manifests.length, 3);
  });

  it('fails with the reason of a source, and when one has not the length it said', async () => {
    const broken: ArchiveFile = {
      ...fileOf('base'),
      // eslint-disable-next-line @typescript-eslint/require-await -- an async iterable
      open: async function* () {
        yield Buffer.from('ba');
        throw new Error('the line is cut');
      },
    };
    const short: ArchiveFile = { ...fileOf('base'), sizeBytes: 5 };
    for (const [blob, message] of [[broken, /line is cut/] as const, [short, /Size/] as const]) {
      const archive = writeArchive([image([], { blob })], { format: 'oci' });
      await assert.rejects(entries(archive), message);
    }
  });

  it('ends its sources when nobody reads on', async () => {
    let ended = false;
    const endless: ArchiveFile = {
      ...fileOf('base'),
      sizeBytes: 1e9,
      // eslint-disable-next-line @typescript-eslint/require-await -- an async iterable
      open: async function* () {
        try {
          for (;;) yield Buffer.alloc(65_536);
        } finally {
          ended = true;
        }
      },
    };
    let read = 0;
    const archive = writeArchive([image([], { blob: endless })], { format: 'docker-archive' });
    for await (const chunk of archive) if ((read += chunk.length) > 1e6) break;
    assert.equal(ended, true);
    assert.ok(read < 2e6, `${read} bytes`);
  });
});
