import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import fc from 'fast-check';
import type { ArchiveFormat } from '../../../runtime/engine.js';
import {
  dockerArchive,
  makeImage,
  makeTar,
  ociArchive,
  streamOf,
  type BuiltImage,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';

const FORMATS: readonly ArchiveFormat[] = ['docker-archive', 'oci'];

describe('saving images', function () {
  let rig: ImageRig;
  let pool: Buffer[];

  before(async function () {
    requiresRoot(this);
    const tars = [0, 1, 2, 3].map((n) =>
      makeTar(n === 0 ? [] : [{ name: `file-${n}`, content: Buffer.alloc(n * 700, n) }]),
    );
    pool = await Promise.all(tars);
  });

  beforeEach(async () => {
    rig = await ImageRig.open();
  });

  afterEach(async () => {
    await rig.close();
  });

  async function save(references: readonly string[], format: ArchiveFormat): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const part of rig.images.save(references, { format })) parts.push(part);
    return Buffer.concat(parts);
  }

  const anyRecipe = fc.record({
    name: fc.nat(1000).map((n) => `image-${n}`),
    layers: fc.array(fc.nat(3), { maxLength: 5 }),
    tags: fc.uniqueArray(fc.constantFrom('1', 'v1.2-rc', 'latest'), { minLength: 1 }),
  });
  const anyRecipes = fc.uniqueArray(anyRecipe, {
    minLength: 1,
    maxLength: 3,
    selector: (r) => r.name,
  });

  it('gives the same images, names and layers to who loads them, shared layers once', async () => {
    const archiveOf = (images: BuiltImage[], isOci: boolean): Promise<Buffer> =>
      isOci ? ociArchive(images) : dockerArchive(...images);
    await fc.assert(
      fc.asyncProperty(
        anyRecipes,
        fc.boolean(),
        fc.constantFrom(...FORMATS),
        async (recipes, isOci, format) => {
          await rig.images.prune({ all: true });
          const images: BuiltImage[] = [];
          for (const { name, layers, tags } of recipes) {
            const tars = layers.map((n) => pool[n] ?? Buffer.alloc(0));
            const recipe = { tags: tags.map((tag) => `${name}:${tag}`), layers: tars };
            images.push(await makeImage({ ...recipe, config: { Labels: { name } } }));
          }
          await rig.images.load(streamOf(await archiveOf(images, isOci)));
          const saved = await save(
            recipes.map((recipe) => recipe.name),
            format,
          );
          assert.deepEqual(
            await save(
              recipes.map((recipe) => recipe.name),
              format,
            ),
            saved,
          );
          const before = await contents();
          await rig.images.prune({ all: true });
          assert.deepEqual(await contents(), []);
          await rig.images.load(streamOf(saved, 1 << 16));
          assert.deepEqual(await contents(), before);
        },
      ),
      { numRuns: 12 },
    );
  });

  /** What is here, in words. */
  async function contents(): Promise<string[]> {
    const found: string[] = [];
    for (const { id, repoTags } of await rig.images.list()) {
      const { layers } = await rig.images.inspect(id);
      found.push(`${id} ${repoTags.join()} ${layers.join()}`);
    }
    return found.sort();
  }

  it('takes the tag that is said, all tags of a bare name, no tag of an id', async () => {
    const image = await makeImage({ tags: ['web:1', 'web:2', 'other:1'], layers: [] });
    await rig.images.load(streamOf(await dockerArchive(image)));
    const cases: [string, string[]][] = [
      ['web:2', ['web:2']],
      ['web', ['web:1', 'web:2']],
      [image.id, []],
      [image.id.slice(7, 19), []],
    ];
    for (const [reference, tags] of cases) {
      const saved = await save([reference], 'docker-archive');
      await rig.images.prune({ all: true });
      const [loaded] = await rig.images.load(streamOf(saved));
      assert.deepEqual([loaded?.id, loaded?.repoTags], [image.id, tags], reference);
      await rig.images.load(streamOf(await dockerArchive(image)));
    }
  });

  it('refuses what is not here, or nothing at all, before the first byte', async () => {
    await assert.rejects(save(['none:1'], 'oci'), { kind: 'not-found', message: /"none:1"/ });
    await assert.rejects(save([], 'oci'), {
      kind: 'invalid-argument',
      message: /no image to save/,
    });
  });

  it('says which layer is lost', async () => {
    const image = await makeImage({ tags: ['web:1'], layers: [[{ name: 'a', content: 'a' }]] });
    await rig.images.load(streamOf(await dockerArchive(image)));
    const [layer] = image.layers;
    rmSync(rig.path('blobs/sha256', layer?.digest.slice(7) ?? ''));
    await assert.rejects(save(['web:1'], 'oci'), {
      kind: 'failed-precondition',
      message: new RegExp(`layer ${layer?.digest} is here unpacked only`),
    });
  });
});
