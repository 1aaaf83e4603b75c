import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { gzipSync } from 'node:zlib';
import {
  busyboxImage,
  dockerArchive,
  makeImage,
  ociArchive,
  streamOf,
  type BuiltImage,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';

describe('loading image archives', () => {
  let rig: ImageRig;
  let web: BuiltImage;
  let api: BuiltImage;

  before(async function () {
    requiresRoot(this);
    web = await busyboxImage({
      tag: 'web:1',
      files: [{ name: 'srv/index.html', content: 'hello' }],
      config: {
        Entrypoint: ['/bin/httpd', '-f'],
        Cmd: ['-p', '80'],
        ExposedPorts: { '80/tcp': {} },
        Healthcheck: { Test: ['CMD', 'true'], Interval: 2_000_000_000, Retries: 4 },
        User: 'web',
      },
    });
    api = await busyboxImage({ tag: 'api:1', files: [{ name: 'srv/api', content: 'api' }] });
  });

  beforeEach(async () => {
    rig = await ImageRig.open();
  });

  afterEach(async () => {
    await rig.close();
  });

  const forms: { name: string; archive: (images: BuiltImage[]) => Promise<Buffer> }[] = [
    { name: 'docker save before 25', archive: (images) => dockerArchive(...images) },
    { name: 'docker save from 25 on', archive: (i) => ociArchive(i, { dockerManifest: true }) },
    { name: 'OCI layout with gzip layers', archive: (images) => ociArchive(images) },
    { name: 'OCI layout with plain layers', archive: (i) => ociArchive(i, { gzip: false }) },
    { name: 'docker save | gzip', archive: async (i) => gzipSync(await dockerArchive(...i)) },
  ];

  for (const { name, archive } of forms) {
    it(`reads ${name}`, async () => {
      const images = await rig.images.load(streamOf(await archive([web, api])));
      assert.deepEqual(
        images.map((i) => [i.id, i.repoTags]),
        [
          [web.id, ['web:1']],
          [api.id, ['api:1']],
        ],
      );
      const found = await rig.images.lookup('web:1');
      assert.deepEqual(found?.config.entrypoint, ['/bin/httpd', '-f']);
      assert.deepEqual(found.config.cmd, ['-p', '80']);
      assert.deepEqual(found.config.exposedPorts, ['80/tcp']);
      assert.equal(found.config.user, 'web');
      assert.deepEqual(found.config.healthcheck, {
        test: ['CMD', 'true'],
        intervalMs: 2000,
        timeoutMs: 0,
        startPeriodMs: 0,
        startIntervalMs: 0,
        retries: 4,
      });
      assert.equal(found.chain.length, 2);
      const top = rig.path('layers', found.chain[1] ?? '', 'diff');
      assert.equal(readFileSync(`${top}/srv/index.html`, 'utf8'), 'hello');
      assert.deepEqual(readdirSync(rig.path('staging')), []);
    });
  }

  it('tells of the names that the archive gives, not of others an image has', async () => {
    await rig.images.load(streamOf(await dockerArchive(web)));
    await rig.images.tag('web:1', 'other:2');
    for (const archive of [await dockerArchive(web), await ociArchive([web])]) {
      const [again] = await rig.images.load(streamOf(archive));
      assert.deepEqual(again?.repoTags, ['web:1']);
    }
    assert.deepEqual((await rig.images.find('web:1'))?.repoTags, ['other:2', 'web:1']);
  });

  it('unpacks a layer that images share once', async () => {
    await rig.images.load(streamOf(await dockerArchive(web)));
    const [shared = ''] = (await rig.images.lookup('web:1'))?.chain ?? [];
    const before = statSync(rig.path('layers', shared, 'diff', 'bin', 'busybox'));
    await rig.images.load(streamOf(await ociArchive([api])));
    const after = statSync(rig.path('layers', shared, 'diff', 'bin', 'busybox'));
    assert.equal(after.ino, before.ino);
    assert.equal(readdirSync(rig.path('layers')).length, 3);
  });

  it('finds images by name, id and prefix, and again after a restart', async () => {
    await rig.images.load(streamOf(await dockerArchive(web, api)));
    await rig.reopen();
    const hex = web.id.slice('sha256:'.length);
    for (const name of ['web:1', 'docker.io/library/web:1', web.id, hex, hex.slice(0, 12)]) {
      assert.equal((await rig.images.find(name))?.id, web.id, name);
    }
    assert.equal(await rig.images.find('web'), undefined, 'web means web:latest');
    assert.equal(await rig.images.find('web:2'), undefined);
    assert.deepEqual((await rig.images.list()).map((i) => i.id).sort(), [web.id, api.id].sort());
    const image = await rig.images.find('web:1');
    assert.equal(image?.createdAtMs, Date.parse('2024-01-02T03:04:05Z'));
    assert.ok(image.sizeBytes > 500_000, 'busybox is in it');
  });

  it('moves a tag to the image loaded last', async () => {
    const second = await busyboxImage({ tag: 'web:1', files: [{ name: 'v', content: '2' }] });
    await rig.images.load(streamOf(await dockerArchive(web)));
    await rig.images.load(streamOf(await dockerArchive(second)));
    assert.equal((await rig.images.find('web:1'))?.id, second.id);
    assert.deepEqual((await rig.images.find(web.id))?.repoTags, []);
  });

  it('lists nothing whose layer is gone, and loads it anew', async () => {
    await rig.images.load(streamOf(await dockerArchive(web)));
    const [, top = ''] = (await rig.images.lookup('web:1'))?.chain ?? [];
    // what a power cut between the folder and its marker leaves
    rmSync(rig.path('layers', top, 'layer.json'));
    await rig.reopen();
    assert.equal(await rig.images.find('web:1'), undefined);
    assert.ok(!existsSync(rig.path('layers', top)), 'the damaged layer is deleted');
    await rig.images.load(streamOf(await dockerArchive(web)));
    assert.equal((await rig.images.find('web:1'))?.id, web.id);
  });

  it('deletes what an interrupted load left in staging', async () => {
    mkdirSync(rig.path('staging', '7', 'diff'), { recursive: true });
    writeFileSync(rig.path('staging', '7', 'diff', 'half'), 'x');
    await rig.reopen();
    assert.deepEqual(readdirSync(rig.path('staging')), []);
  });

  it('refuses a layer that is not what the configuration says', async () => {
    const other = await makeImage({ tags: ['web:1'], layers: [[{ name: 'other', content: 'x' }]] });
    const forged = { ...web, layers: [...other.layers, ...web.layers.slice(1)] };
    await assert.rejects(rig.images.load(streamOf(await dockerArchive(forged))), (error: Error) => {
      assert.match(
        error.message,
        /^image archive: layer sha256:\w+: it unpacks to sha256:\w+; the/,
      );
      return true;
    });
    assert.deepEqual(await rig.images.list(), []);
    assert.deepEqual(readdirSync(rig.path('staging')), []);
  });

  const broken: { name: string; bytes: () => Promise<Buffer> | Buffer; message: RegExp }[] = [
    {
      name: 'no tar',
      bytes: () => Buffer.alloc(4096, 'x'),
      message: /wrong checksum; is the file a tar/,
    },
    {
      name: 'nothing',
      bytes: () => Buffer.alloc(0),
      message: /neither manifest.json .* nor index.json/,
    },
    {
      name: 'half an archive',
      bytes: async () => (await dockerArchive(web)).subarray(0, 300_000),
      message: /the tar ends in the middle of/,
    },
    {
      name: 'half a gzip',
      bytes: async () => gzipSync(await dockerArchive(web)).subarray(0, 100_000),
      message: /the compressed data is damaged: unexpected end of file/,
    },
    {
      name: 'zstd',
      bytes: () => Buffer.from('28b52ffd00000000', 'hex'),
      message: /zstd|damaged/,
    },
  ];
  for (const { name, bytes, message } of broken) {
    it(`refuses ${name}`, async () => {
      await assert.rejects(rig.images.load(streamOf(await bytes())), message);
      assert.deepEqual(readdirSync(rig.path('staging')), []);
    });
  }

  it('ends when its caller gives up', async () => {
    const controller = new AbortController();
    const bytes = await dockerArchive(web);
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 100_000);
      controller.abort(new Error('no more'));
      yield* streamOf(bytes.subarray(100_000));
    }
    await assert.rejects(rig.images.load(slow(), { signal: controller.signal }), /no more/);
    assert.deepEqual(readdirSync(rig.path('staging')), []);
    assert.deepEqual(await rig.images.list(), []);
  });
});
