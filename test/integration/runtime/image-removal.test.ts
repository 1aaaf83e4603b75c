import assert from 'node:assert/strict';
import { readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { HatobaError } from '../../../common/errors.js';
import type { Digest } from '../../../runtime/core/digest.js';
import type { ImageUser } from '../../../runtime/core/image-removal.js';
import type { NewEvent } from '../../../runtime/events/event-bus.js';
import { FakeClock } from '../../support/fake-clock.js';
import {
  dockerArchive,
  makeImage,
  ociArchive,
  streamOf,
  type BuiltImage,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';

/** A blob of four bytes, written a thousand seconds after 1970. */
function writeOld(path: string): void {
  writeFileSync(path, 'left');
  utimesSync(path, 1000, 1000);
}

const BASE = [{ name: 'etc/base', content: 'base' }];

describe('names and removal of images', () => {
  let rig: ImageRig;
  let web: BuiltImage;
  let api: BuiltImage;
  let users: Map<string, ImageUser[]>;
  let containerLayers: Digest[];
  let events: NewEvent[];
  const clock = new FakeClock(1_800_000_000_000);

  before(async function () {
    requiresRoot(this);
    const top = (text: string): { name: string; content: string }[] => [
      { name: 'top', content: text },
    ];
    web = await makeImage({ tags: ['web:1'], layers: [BASE, top('web')] });
    api = await makeImage({ tags: ['api:1'], layers: [BASE, top('api')] });
  });

  beforeEach(async () => {
    users = new Map<string, ImageUser[]>();
    containerLayers = [];
    events = [];
    rig = await ImageRig.open({
      clock,
      surroundings: {
        events: { emit: (event) => events.push(event) },
        usersOf: (id) => users.get(id) ?? [],
        containerLayers: () => Promise.resolve(containerLayers),
        snapshotter: () => 'overlay',
      },
    });
    await rig.images.load(streamOf(await ociArchive([web, api])));
    events.length = 0;
  });

  afterEach(async () => {
    await rig.close();
  });

  const names = (folder: string): string[] => readdirSync(rig.path(folder)).sort();
  const tagsOf = async (id: string): Promise<string[]> =>
    (await rig.images.find(id))?.repoTags ?? [];
  it('names those that were used last first', async () => {
    clock.holdUp(1000);
    await rig.images.tag('web:1', 'shop');
    await rig.images.keepDuring('api:1', 'c1', () => Promise.resolve());
    assert.deepEqual(await rig.images.names(10), ['api:1', 'shop:latest', 'web:1']);
    clock.holdUp(1000);
    await rig.images.keepDuring('web:1', 'c2', () => Promise.resolve());
    assert.deepEqual(await rig.images.names(10), ['shop:latest', 'web:1', 'api:1']);
    assert.deepEqual(await rig.images.names(1), ['shop:latest']);
  });

  const layersOf = (image: BuiltImage): string[] => image.layers.map((l) => l.digest.slice(7));

  it('gives an image more names, and takes them from others', async () => {
    await rig.images.tag('web:1', '127.0.0.1:5000/team/web');
    await rig.images.tag(web.id.slice(7, 19), 'api:1');
    assert.deepEqual(await tagsOf(web.id), ['127.0.0.1:5000/team/web:latest', 'api:1', 'web:1']);
    assert.deepEqual(await tagsOf(api.id), []);
    await rig.reopen();
    assert.equal((await rig.images.find('api:1'))?.id, web.id);
    const tagged = events.map((event) => [event.action, event.attributes['name']]);
    assert.deepEqual(tagged, [
      ['tag', '127.0.0.1:5000/team/web:latest'],
      ['tag', 'api:1'],
    ]);
  });

  it('refuses names that are none, or an image that is not here', async () => {
    await assert.rejects(rig.images.tag('none:1', 'x'), { kind: 'not-found', message: /"none:1"/ });
    await assert.rejects(rig.images.tag('web:1', 'UPPER'), { kind: 'invalid-argument' });
    await assert.rejects(rig.images.tag('web:1', `x@${web.id}`), /names its image by digest/);
    await assert.rejects(rig.images.remove('none'), { kind: 'not-found' });
    await assert.rejects(rig.images.inspect('none'), { kind: 'not-found' });
    await assert.rejects(rig.images.history('none'), { kind: 'not-found' });
  });

  it('removes what no other image has', async () => {
    const removed = await rig.images.remove('web:1');
    const [, top] = web.layers;
    assert.deepEqual(removed.untagged, ['web:1']);
    assert.deepEqual(removed.deleted, [web.id, top?.digest]);
    assert.deepEqual(names('layers'), layersOf(api).sort());
    assert.deepEqual(
      events.map((e) => e.action),
      ['untag', 'delete'],
    );
    await rig.images.remove(api.id);
    assert.deepEqual(names('layers'), []);
    assert.deepEqual(names('blobs/sha256'), []);
    assert.deepEqual(names('staging'), []);
    assert.deepEqual(names('images'), ['references.json']);
    await rig.reopen();
    assert.deepEqual(await rig.images.list(), []);
  });

  it('keeps an image for its other names and for its containers', async () => {
    await rig.images.tag('web:1', 'web:2');
    assert.deepEqual(await rig.images.remove('web:1'), { untagged: ['web:1'], deleted: [] });
    users.set(web.id, [{ container: 'app', isRunning: true }]);
    await assert.rejects(rig.images.remove('web:2'), {
      kind: 'failed-precondition',
      message: /image "web:2" is used by container app \(running\)/,
    });
    const forced = await rig.images.remove('web:2', { force: true });
    assert.deepEqual(forced, { untagged: ['web:2'], deleted: [] });
    assert.deepEqual((await rig.images.prune({ all: true })).removed, [api.id]);
    assert.deepEqual(names('layers'), layersOf(web).sort());
    users.clear();
    assert.deepEqual((await rig.images.prune({})).removed, [web.id]);
  });

  it('keeps the layers of a container whose image is not known any more', async () => {
    containerLayers = web.layers.map((layer) => layer.digest as Digest);
    await rig.images.remove('web:1');
    assert.deepEqual(names('layers'), [...new Set([...layersOf(web), ...layersOf(api)])].sort());
  });

  it('loads an image it has in another form without keeping it twice', async () => {
    const before = names('blobs/sha256');
    await rig.images.load(streamOf(await dockerArchive(web)));
    assert.deepEqual(names('blobs/sha256'), before);
    await rig.images.remove('web:1');
    await rig.images.remove('api:1');
    await rig.images.load(streamOf(await dockerArchive(web)));
    await rig.images.load(streamOf(await ociArchive([web])));
    const layout = names('blobs/sha256');
    await rig.images.remove('web:1');
    assert.deepEqual([layout.length > 4, names('blobs/sha256')], [true, []]);
  });

  it('prunes by age and by tag', async () => {
    const { createdAtMs } = (await rig.images.inspect('web:1')).image ?? { createdAtMs: 0 };
    const ageMs = clock.nowMs() - createdAtMs;
    await rig.images.tag('api:1', 'web:1'); // now the former web:1 has no name
    assert.deepEqual((await rig.images.prune({ olderThanMs: ageMs + 1 })).removed, []);
    const pruned = await rig.images.prune({ olderThanMs: ageMs });
    assert.deepEqual(pruned.removed, [web.id]);
    assert.ok(pruned.reclaimedBytes > 0);
    assert.deepEqual((await rig.images.prune({ all: true })).removed, [api.id]);
  });

  it('prunes an image of tomorrow too, whose maker has another clock', async () => {
    const earlier = await ImageRig.open({ clock: new FakeClock(1_700_000_000_000) });
    await earlier.images.load(streamOf(await ociArchive([web])));
    assert.deepEqual((await earlier.images.prune({ all: true, olderThanMs: 1 })).removed, []);
    assert.deepEqual((await earlier.images.prune({ all: true })).removed, [web.id]);
    await earlier.close();
  });

  it('prunes what interrupted pulls have left, when all is to go', async () => {
    const left = `sha256:${'e'.repeat(64)}`;
    writeOld(rig.path('partial', left.slice(7)));
    const known = [web.id, api.id].sort();
    users.set(web.id, [{ container: 'app', isRunning: true }]);
    users.set(api.id, [{ container: 'app', isRunning: true }]);
    assert.deepEqual((await rig.images.prune({})).removed, []);
    assert.deepEqual(
      (await rig.images.prune({ all: true, olderThanMs: clock.nowMs() })).removed,
      [],
    );
    const pruned = await rig.images.prune({ all: true });
    assert.deepEqual(pruned, { removed: [`partial ${left}`], reclaimedBytes: 4 });
    assert.deepEqual((await rig.images.list()).map(({ id }) => id).sort(), known);
  });

  it('does not remove an image while a container is made from it', async () => {
    let finish = (): void => undefined;
    const creation = rig.images.keepDuring('web:1', 'app', async () => {
      await new Promise<void>((resolve) => (finish = resolve));
      return (await rig.images.lookup('web:1'))?.chain.length;
    });
    await assert.rejects(rig.images.remove('web:1'), /used by container app/);
    assert.deepEqual((await rig.images.prune({ all: true })).removed, [api.id]);
    finish();
    assert.equal(await creation, 2);
    await rig.images.remove('web:1');
  });

  it('either loads or removes an image, however they fall together', async () => {
    const archive = await ociArchive([web]);
    for (let round = 0; round < 8; round++) {
      const load = rig.images.load(streamOf(archive, 4096));
      const removals = Array.from({ length: 12 }, () => removeIfThere('web:1'));
      await Promise.all([load, ...removals]);
      const found = await rig.images.lookup('web:1');
      if (found === undefined) continue;
      // what is listed is whole
      for (const layer of layersOf(web)) assert.ok(names('layers').includes(layer));
      const saved = rig.images.save(['web:1'], { format: 'docker-archive' });
      let bytes = 0;
      for await (const chunk of saved) bytes += chunk.length;
      assert.ok(bytes > 0);
    }
    await removeIfThere('web:1');
    assert.deepEqual(names('layers'), layersOf(api).sort());
  });

  async function removeIfThere(reference: string): Promise<void> {
    try {
      await rig.images.remove(reference);
    } catch (error) {
      if (!(error instanceof HatobaError && error.kind === 'not-found')) throw error;
    }
  }

  it('shows an image as docker inspect and history do', async () => {
    const { image, layers, config, snapshotter } = await rig.images.inspect('web:1');
    assert.deepEqual(image?.repoTags, ['web:1']);
    assert.deepEqual(
      layers,
      web.layers.map((layer) => layer.digest),
    );
    assert.deepEqual([config?.cmd, snapshotter], [[], 'overlay']);
    const history = await rig.images.history('web:1');
    assert.deepEqual(
      history.map((entry) => [entry.id, entry.sizeBytes, entry.tags]),
      [
        [web.id, web.layers[1]?.bytes.length, ['web:1']],
        ['<missing>', web.layers[0]?.bytes.length, []],
      ],
    );
  });

  it('collects what an interrupted pull has left, by age', async () => {
    await rig.images.remove('web:1');
    containerLayers = [];
    const left = await makeImage({ layers: [[{ name: 'x', content: 'half' }]] });
    await rig.images.load(streamOf(await ociArchive([left])));
    await rig.images.remove(left.id); // nothing of it is left
    const { garbage } = rig.images;
    assert.deepEqual((await garbage.inventory()).leftovers, []);
    const blob = rig.path('blobs/sha256', 'e'.repeat(64));
    await rig.images.tag('api:1', 'api:2');
    writeOld(blob);
    const found = (await garbage.inventory()).leftovers;
    assert.deepEqual(found, [{ name: `blob sha256:${'e'.repeat(64)}`, writtenAtMs: 1_000_000 }]);
    const done = await garbage.removeLeftovers([...found.map((l) => l.name), `blob ${api.id}`]);
    assert.deepEqual(done, { removed: [found[0]?.name], bytes: 4 });
    assert.ok((await rig.images.lookup('api:2')) !== undefined);
  });

  it('knows after a restart when an image was last used', async () => {
    await rig.images.keepDuring('web:1', 'app', () => Promise.resolve());
    const usedAtMs = clock.nowMs();
    await clock.advance(3_600_000);
    await rig.images.keepDuring('api:1', 'app', () => Promise.resolve());
    await rig.reopen();
    const { images } = await rig.images.garbage.inventory();
    const lastUse = new Map(images.map((image) => [image.id as string, image.lastUsedAtMs]));
    assert.deepEqual([lastUse.get(web.id), lastUse.get(api.id)], [usedAtMs, clock.nowMs()]);
  });
});
