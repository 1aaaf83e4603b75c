import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { isKind } from '../../../common/errors.js';
import { makeImage, type BuiltImage } from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { TestRegistry } from '../../support/registry.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

const BASE = Array.from({ length: 20 }, (_, i) => ({
  name: `file-${i}`,
  content: Buffer.alloc(20_000, i),
}));
const ROUNDS = 6;

describe('pulls beside removals', function () {
  let registry: TestRegistry;
  let rig: ImageRig;
  let images: BuiltImage[];

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'docker-registry');
    registry = await TestRegistry.start();
    images = [];
    for (const name of ['one', 'two']) {
      const image = await makeImage({ layers: [BASE, [{ name, content: name }]] });
      await registry.push(image, name, '1');
      images.push(image);
    }
  });

  after(async () => {
    await (registry as TestRegistry | undefined)?.stop();
  });

  beforeEach(async () => {
    rig = await ImageRig.open();
  });

  afterEach(async () => {
    await rig.close();
  });

  const names = (folder: string): string[] => readdirSync(rig.path(folder)).sort();
  const reference = (name: string): string => `${registry.host}/${name}:1`;

  /** An image that is listed can be saved, which reads all of it. */
  async function assertWhole(name: string): Promise<void> {
    const known = await rig.images.lookup(reference(name));
    for (const layer of known?.chain ?? []) assert.ok(names('layers').includes(layer), layer);
    let bytes = 0;
    const saved = rig.images.save([reference(name)], { format: 'docker-archive' });
    for await (const chunk of saved) bytes += chunk.length;
    assert.ok(bytes > 400_000);
  }

  async function tryRemove(name: string): Promise<void> {
    try {
      await rig.images.remove(reference(name));
    } catch (error) {
      if (!isKind(error, 'not-found')) throw error;
    }
  }

  it('of another image that has the same layer: the pulled one is whole', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await rig.images.pull(reference('one'));
      const pull = rig.images.pull(reference('two'));
      await Promise.all([pull, tryRemove('one')]);
      await assertWhole('two');
      await rig.images.remove(reference('two'));
      assert.deepEqual([names('layers'), names('blobs/sha256')], [[], []]);
    }
  });

  it('of the same image: it is here whole, or not at all', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await rig.images.pull(reference('one'));
      const again = rig.images.pull(reference('one'), { refresh: true });
      await Promise.all([again, tryRemove('one'), tryRemove('one')]);
      if ((await rig.images.find(reference('one'))) !== undefined) await assertWhole('one');
      await tryRemove('one');
      assert.deepEqual([names('layers'), await rig.images.list()], [[], []]);
    }
  });

  it('and garbage collection: what a running pull has is no leftover', async () => {
    await rig.images.pull(reference('one'));
    const inventories: Promise<{ leftovers: readonly { name: string }[] }>[] = [];
    await rig.images.pull(reference('two'), {
      onProgress: () => {
        inventories.push(rig.images.garbage.inventory());
      },
    });
    const found = await Promise.all(inventories);
    assert.ok(found.length > 0);
    const leftovers = found.flatMap((inventory) => inventory.leftovers.map((l) => l.name));
    assert.deepEqual(leftovers, []);
    const { images: listed } = await rig.images.garbage.inventory();
    assert.deepEqual(listed.map((image) => image.id).sort(), images.map((i) => i.id).sort());
  });

  it('a save that runs reads its image to the end, though it is removed', async () => {
    await rig.images.pull(reference('one'));
    let bytes = 0;
    for await (const chunk of rig.images.save([reference('one')], { format: 'oci' })) {
      if (bytes === 0) await rig.images.remove(reference('one'));
      bytes += chunk.length;
    }
    assert.ok(bytes > 1000);
    assert.equal(await rig.images.find(reference('one')), undefined);
  });
});
