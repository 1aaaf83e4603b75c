import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { HatobaError } from '../../../common/errors.js';
import {
  blobOf,
  distribute,
  makeImage,
  makeTar,
  ociArchive,
  streamOf,
  type Blob,
  type BuiltImage,
  type TarFile,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';

function fileOf(blob: Blob): TarFile {
  return { name: `blobs/sha256/${blob.digest.slice(7)}`, content: blob.bytes };
}

function json(name: string, value: unknown): TarFile {
  return { name, content: JSON.stringify(value) };
}

function entryOf(blob: Blob, mediaType: string, size = blob.bytes.length): object {
  return { mediaType, digest: blob.digest, size };
}

describe('hostile image archives', () => {
  let rig: ImageRig;
  let web: BuiltImage;

  before(async function () {
    requiresRoot(this);
    web = await makeImage({ tags: ['web:1'], layers: [[{ name: 'file', content: 'web' }]] });
    rig = await ImageRig.open();
  });

  after(async () => {
    await (rig as ImageRig | undefined)?.close();
  });

  const load = async (files: readonly TarFile[]): Promise<unknown> =>
    await rig.images.load(streamOf(await makeTar(files), 1 << 20));

  /** Refused with words, and nothing is left. */
  async function assertRefused(files: readonly TarFile[], message: RegExp): Promise<void> {
    await assert.rejects(load(files), (error: unknown) => {
      assert.ok(error instanceof HatobaError, String(error));
      assert.match(error.message, message);
      assert.ok(['invalid-argument', 'not-found', 'failed-precondition'].includes(error.kind));
      return true;
    });
    assertNothingLeft();
  }

  function assertNothingLeft(): void {
    for (const dir of ['staging', 'layers', 'blobs/sha256']) {
      assert.deepEqual(readdirSync(rig.path(dir)), [], dir);
    }
    assert.deepEqual(
      readdirSync(rig.path('images')).filter((name) => /^[0-9a-f]{64}/.test(name)),
      [],
    );
  }

  it('an index that names itself, or an index in an index', async () => {
    const inner = blobOf(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }));
    const cycle = { mediaType: OCI_INDEX, digest: inner.digest, size: inner.bytes.length };
    const middle = blobOf(JSON.stringify({ schemaVersion: 2, manifests: [cycle] }));
    const index = { schemaVersion: 2, manifests: [entryOf(middle, OCI_INDEX)] };
    const files = [json('index.json', index), fileOf(middle), fileOf(inner)];
    await assertRefused(files, /has an index within an index/);
  });

  it('a manifest of ten megabytes', async () => {
    const files = [{ name: 'manifest.json', content: Buffer.alloc(10 * 1024 * 1024, ' ') }];
    await assertRefused(files, /manifest.json has 10485760 bytes, too many/);
  });

  it('a manifest of JSON nested ten thousand times', async () => {
    const files = [{ name: 'manifest.json', content: '['.repeat(10_000) + ']'.repeat(10_000) }];
    await assertRefused(files, /manifest.json/);
  });

  it('a wrong size of the manifest, of a layer', async () => {
    const { manifest, mediaType, blobs } = distribute(web);
    const files = [manifest, ...blobs].map(fileOf);
    const index = { schemaVersion: 2, manifests: [entryOf(manifest, mediaType, 7)] };
    await assertRefused(
      [json('index.json', index), ...files],
      /bytes in the archive, and should have 7/,
    );
    const text = manifest.bytes.toString();
    const forged = blobOf(text.replace(/"size":\d+}\]/, '"size":8}]'));
    assert.notEqual(forged.digest, manifest.digest);
    const wrong = { schemaVersion: 2, manifests: [entryOf(forged, mediaType)] };
    const layers = [forged, ...blobs].map(fileOf);
    await assertRefused([json('index.json', wrong), ...layers], /and should have 8/);
  });

  it('links in a circle, and links that lead out', async () => {
    const link = (name: string, linkname: string): TarFile => ({ name, type: 'symlink', linkname });
    const manifest = (layer: string): TarFile =>
      json('manifest.json', [{ Config: 'c.json', RepoTags: ['web:1'], Layers: [layer] }]);
    const config = { name: 'c.json', content: web.config.bytes };
    const circle = [link('a/layer.tar', '../b/layer.tar'), link('b/layer.tar', '../a/layer.tar')];
    await assertRefused(
      [...circle, config, manifest('a/layer.tar')],
      /names "a\/layer.tar", which/,
    );
    for (const target of ['/etc/passwd', '../../../../../../etc/passwd']) {
      const files = [link('x/layer.tar', target), config, manifest('x/layer.tar')];
      await assertRefused(files, /which the archive does not have/);
    }
    const outside = [config, manifest('../../../../etc/passwd')];
    await assertRefused(outside, /which the archive does not have/);
  });

  it('a layer too few, or a configuration that is none', async () => {
    const layers = [{ Config: 'c.json', RepoTags: null, Layers: [] }];
    const config = { name: 'c.json', content: web.config.bytes };
    await assertRefused(
      [config, json('manifest.json', layers)],
      /0 layers and its configuration 1/,
    );
    const none = { name: 'c.json', content: 'no json' };
    await assertRefused([none, json('manifest.json', layers)], /configuration of .* is not JSON/);
  });

  it('more entries than an image can have', async () => {
    const files = Array.from({ length: 20_001 }, (_, i) => ({ name: `${i}`, content: '' }));
    await assertRefused(files, /more than 20000 entries/);
  });

  it('of two entries of a name the last counts', async () => {
    const archive = await ociArchive([web]);
    assert.ok(archive.length > 0);
    const { manifest, mediaType, blobs } = distribute(web);
    const good = { schemaVersion: 2, manifests: [entryOf(manifest, mediaType)] };
    const files = [manifest, ...blobs].map(fileOf);
    const [twice] = files;
    const doubled = [json('index.json', { bad: true }), ...files, json('index.json', good)];
    await load(twice === undefined ? doubled : [...doubled, twice]);
    assert.equal((await rig.images.list()).length, 1);
    await rig.images.remove(web.id);
    assertNothingLeft();
  });

  const anyPart = fc.oneof(
    fc.constantFrom(null, '', -1, 1e308, {}, [], '../x', 'sha256:zz', `sha256:${'a'.repeat(64)}`),
    fc.jsonValue({ maxDepth: 2 }),
  );

  it('any JSON as manifest.json: an error with words, and nothing left', async () => {
    const image = fc.record(
      { Config: anyPart, RepoTags: anyPart, Layers: fc.oneof(anyPart, fc.array(anyPart)) },
      { requiredKeys: [] },
    );
    const document = fc.oneof(fc.array(image, { maxLength: 3 }), fc.jsonValue());
    await fc.assert(
      fc.asyncProperty(document, (value) => assertRefused([json('manifest.json', value)], /./)),
      { numRuns: 60 },
    );
  });

  it('any JSON as index.json or manifest: an error with words, and nothing left', async () => {
    const descriptor = fc.record(
      {
        mediaType: anyPart,
        digest: anyPart,
        size: anyPart,
        platform: anyPart,
        annotations: anyPart,
      },
      { requiredKeys: [] },
    );
    const index = fc.record(
      {
        schemaVersion: anyPart,
        mediaType: anyPart,
        manifests: fc.array(descriptor, { maxLength: 3 }),
      },
      { requiredKeys: [] },
    );
    const manifest = fc.record(
      { mediaType: anyPart, config: descriptor, layers: fc.array(descriptor, { maxLength: 3 }) },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(index, manifest, fc.boolean(), async (outer, inner, isNamed) => {
        const blob = blobOf(JSON.stringify(inner));
        const named = {
          schemaVersion: 2,
          manifests: [entryOf(blob, 'application/vnd.oci.image.manifest.v1+json')],
        };
        await assertRefused([json('index.json', isNamed ? named : outer), fileOf(blob)], /./);
      }),
      { numRuns: 60 },
    );
  });
});
