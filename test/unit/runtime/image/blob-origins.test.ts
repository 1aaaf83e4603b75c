import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { silentLogger } from '../../../../common/logger.js';
import { ContentStore } from '../../../../runtime/content/content-store.js';
import { toDigest, type Digest } from '../../../../runtime/core/digest.js';
import { parseImageReference } from '../../../../runtime/core/image-ref.js';
import { BlobOrigins } from '../../../../runtime/image/blob-origins.js';
import { blobOf } from '../../../support/image-fixtures.js';

describe('where blobs came from', () => {
  let root: string;
  let content: ContentStore;
  let here: { digest: Digest; sizeBytes: number };

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'ht-origins-'));
    content = await ContentStore.open(root);
    const { bytes, digest } = blobOf('layer');
    here = { digest: toDigest(digest), sizeBytes: bytes.length };
    await content.put(here, [bytes]);
  });

  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  const open = (): Promise<BlobOrigins> =>
    BlobOrigins.open(root, { content, logger: silentLogger });
  const gone = { digest: toDigest(`sha256:${'0'.repeat(64)}`), sizeBytes: 1 };

  it('is known by registry, the latest first, also to the next process', async () => {
    const origins = await open();
    for (const name of ['r.example/a', 'r.example/b', 's.example/c', 'r.example/a']) {
      await origins.add(parseImageReference(name), [here, gone]);
    }
    await origins.addGzip(here.digest, gone);
    for (const known of [origins, await open()]) {
      assert.deepEqual(known.repositoriesOf('r.example', here.digest), ['a', 'b']);
      assert.deepEqual(known.repositoriesOf('s.example', here.digest), ['c']);
      assert.deepEqual(known.repositoriesOf('t.example', here.digest), []);
      assert.deepEqual(known.gzipOf(here.digest), gone);
    }
  });

  it('is forgotten of the oldest of very many', async () => {
    const origins = await open();
    const blobs = Array.from({ length: 10_000 }, (_, i) => {
      return { digest: toDigest(`sha256:${String(i).padStart(64, '0')}`), sizeBytes: 1 };
    });
    await origins.add(parseImageReference('r.example/a'), blobs);
    await origins.add(parseImageReference('r.example/b'), [here, ...blobs.slice(0, 1)]);
    const known = [...blobs.slice(0, 3), here].map((blob) =>
      origins.repositoriesOf('r.example', blob.digest).join(),
    );
    assert.deepEqual(known, ['b,a', '', 'a', 'b']);
  });

  it('is forgotten with the blobs', async () => {
    const origins = await open();
    await origins.add(parseImageReference('r.example/a'), [here]);
    await origins.addGzip(here.digest, gone);
    await content.remove(here.digest);
    const next = await open();
    assert.deepEqual(next.repositoriesOf('r.example', here.digest), []);
    assert.equal(next.gzipOf(here.digest), undefined);
  });

  it('is a hint: a damaged file is as none', async () => {
    const parts = { repositories: fc.jsonValue(), gzipped: fc.jsonValue() };
    const file = fc.oneof(
      fc.string(),
      fc.json(),
      fc.record(parts).map((f) => JSON.stringify(f)),
    );
    await fc.assert(
      fc.asyncProperty(file, async (text) => {
        writeFileSync(join(root, 'distribution.json'), text);
        const origins = await open();
        assert.deepEqual(origins.repositoriesOf('r.example', here.digest), []);
      }),
    );
  });
});
