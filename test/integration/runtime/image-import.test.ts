import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import type { NewEvent } from '../../../runtime/events/event-bus.js';
import { FakeClock } from '../../support/fake-clock.js';
import { blobOf, folder, makeTar, streamOf } from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';

describe('importing a root file system', () => {
  let rig: ImageRig;
  let tar: Buffer;
  let events: NewEvent[];
  const clock = new FakeClock(Date.parse('2024-05-06T07:08:09Z'));

  before(async function () {
    requiresRoot(this);
    tar = await makeTar([folder('etc'), { name: 'etc/motd', content: 'welcome' }]);
  });

  beforeEach(async () => {
    events = [];
    rig = await ImageRig.open({
      clock,
      surroundings: {
        events: { emit: (event) => events.push(event) },
        usersOf: () => [],
        containerLayers: () => Promise.resolve([]),
        snapshotter: () => 'overlay',
      },
    });
  });

  afterEach(async () => {
    await rig.close();
  });

  const forms = [
    { name: 'a tar', bytes: () => tar },
    { name: 'a tar that is compressed', bytes: () => gzipSync(tar) },
  ];
  for (const { name, bytes } of forms) {
    it(`makes an image of one layer from ${name}`, async () => {
      const image = await rig.images.import(streamOf(bytes()), {
        reference: 'base',
        message: 'from debian',
        changes: ['CMD ["cat", "/etc/motd"]', 'ENV A=1', 'EXPOSE 80'],
      });
      assert.deepEqual([image.repoTags, image.createdAtMs], [['base:latest'], clock.nowMs()]);
      const { layers, config, comment } = await rig.images.inspect('base');
      assert.deepEqual(layers, [blobOf(tar).digest]);
      assert.deepEqual(config?.cmd, ['cat', '/etc/motd']);
      assert.deepEqual([config.env, config.exposedPorts], [['A=1'], ['80/tcp']]);
      assert.equal(comment, 'from debian');
      const [entry] = await rig.images.history('base');
      assert.deepEqual([entry?.comment, entry?.sizeBytes], ['from debian', tar.length]);
      const [layer = ''] = (await rig.images.lookup('base'))?.chain ?? [];
      assert.equal(readFileSync(rig.path('layers', layer, 'diff/etc/motd'), 'utf8'), 'welcome');
      assert.deepEqual(readdirSync(rig.path('staging')), []);
      assert.deepEqual(
        events.map((e) => [e.action, e.attributes['name']]),
        [['import', 'base']],
      );
    });
  }

  it('is for another platform where it is said so', async () => {
    const image = await rig.images.import(streamOf(tar), { platform: 'linux/arm64/v8' });
    assert.deepEqual([image.architecture, image.repoTags], ['arm64', []]);
    assert.equal((await rig.images.inspect(image.id)).variant, 'v8');
  });

  const refusals: { name: string; options: object; bytes?: Buffer; message: RegExp }[] = [
    { name: 'a wrong change', options: { changes: ['RUN x'] }, message: /change "RUN x"/ },
    { name: 'a wrong name', options: { reference: 'NO' }, message: /lower case/ },
    {
      name: 'a name by digest',
      options: { reference: `a@sha256:${'a'.repeat(64)}` },
      message: /by digest/,
    },
    {
      name: 'another system',
      options: { platform: 'windows/amd64' },
      message: /Hatoba runs linux images/,
    },
    {
      name: 'what is no tar',
      options: {},
      bytes: Buffer.alloc(2048, 'x'),
      message: /is the file a tar/,
    },
    {
      name: 'half a gzip',
      options: {},
      bytes: gzipSync(Buffer.alloc(9999, 'x')).subarray(0, 20),
      message: /damaged/,
    },
  ];
  for (const { name, options, bytes, message } of refusals) {
    it(`refuses ${name}, and leaves nothing`, async () => {
      await assert.rejects(rig.images.import(streamOf(bytes ?? tar), options), {
        kind: 'invalid-argument',
        message,
      });
      for (const dir of ['staging', 'layers', 'blobs/sha256', 'images']) {
        assert.deepEqual(readdirSync(rig.path(dir)), [], dir);
      }
    });
  }

  it('can be saved, and loaded again as it was', async () => {
    const image = await rig.images.import(streamOf(gzipSync(tar)), { reference: 'base:1' });
    const parts: Uint8Array[] = [];
    for await (const part of rig.images.save(['base:1'], { format: 'oci' })) parts.push(part);
    await rig.images.remove('base:1');
    assert.equal(await rig.images.find(image.id), undefined);
    const [loaded] = await rig.images.load(streamOf(Buffer.concat(parts)));
    assert.deepEqual([loaded?.id, loaded?.repoTags], [image.id, ['base:1']]);
  });
});
