import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { silentLogger } from '../../../common/logger.js';
import { ContentStore } from '../../../runtime/content/content-store.js';
import { LayerStore } from '../../../runtime/content/layer-store.js';
import { Unpacker } from '../../../runtime/content/unpacker.js';
import { digestOfHex, hexOf, type Digest } from '../../../runtime/core/digest.js';
import { describeTree } from '../../support/file-tree.js';
import { blobOf, folder, makeTar, streamOf } from '../../support/image-fixtures.js';
import { requiresRoot } from '../../support/requires.js';

const CHILD = fileURLToPath(new URL('../../support/layer-unpack-child.ts', import.meta.url));
const FILES = 250;
const FILE_BYTES = 80_000;

describe('unpacking a layer in a process that is killed', () => {
  let root = '';
  let digest: Digest;
  let unpacker: Unpacker;
  let whole: Record<string, unknown>;

  before(async function () {
    requiresRoot(this);
    root = mkdtempSync('/var/tmp/ht-layer-crash-');
    unpacker = new Unpacker({ clock: systemClock });
    const tar = await makeTar([
      folder('d', 0o2750),
      ...Array.from({ length: FILES }, (_, i) => {
        return { name: `d/${i}`, mode: 0o4711, uid: i, content: Buffer.alloc(FILE_BYTES, i + 1) };
      }),
    ]);
    digest = digestOfHex(blobOf(tar).digest.slice('sha256:'.length));
    const content = await ContentStore.open(root);
    await content.put({ digest, sizeBytes: tar.length }, streamOf(tar, 1 << 20));
    const layers = await openLayers();
    await layers.ensure(digest, digest);
    whole = describeTree(layerFolder());
    await removeLayer(layers);
  });
  after(async () => {
    await (unpacker as Unpacker | undefined)?.[Symbol.asyncDispose]();
    rmSync(root, { recursive: true, force: true });
  });

  async function openLayers(): Promise<LayerStore> {
    return await LayerStore.open(root, {
      content: await ContentStore.open(root),
      unpacker,
      files: { syncFilesystem: () => Promise.resolve() },
      clock: systemClock,
      logger: silentLogger,
    });
  }

  async function removeLayer(layers: LayerStore): Promise<void> {
    const finish = await layers.detach(digest);
    await finish();
  }

  function layerFolder(): string {
    return join(root, 'layers', hexOf(digest), 'diff/d');
  }

  const points = [
    ...[1, 2].map((n) => ['progress', n] as const),
    ['before-sync', 0] as const,
    ...[0, 2, 5, 12, 40].map((n) => ['after-sync', n] as const),
    ['end', 0] as const,
  ];
  for (const [point, count] of points) {
    it(`leaves the whole layer or nothing: ${point} ${count}`, async () => {
      const args = ['--import=tsx', CHILD, root, digest, point, String(count)];
      const { signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      assert.equal(signal, 'SIGKILL', stderr);
      const layers = await openLayers();
      assert.deepEqual(readdirSync(join(root, 'staging')), []);
      if (layers.has(digest)) {
        assert.ok(point !== 'progress' && point !== 'before-sync');
        assert.deepEqual(describeTree(layerFolder()), whole);
      } else {
        assert.deepEqual(readdirSync(join(root, 'layers')), []);
        assert.notEqual(point, 'end');
      }
      await layers.ensure(digest, digest);
      assert.deepEqual(describeTree(layerFolder()), whole);
      await removeLayer(layers);
    });
  }
});
