import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';
import type { TransferProgress } from '../../../runtime/engine.js';
import {
  blobOf,
  busyboxImage,
  dockerArchive,
  makeImage,
  type BuiltImage,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { TestRegistry } from '../../support/registry.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

async function entryNames(archive: AsyncIterable<Uint8Array>): Promise<string[]> {
  const tar = extract();
  tar.end(await buffer(Readable.from(archive)));
  const names: string[] = [];
  for await (const entry of tar) {
    names.push(entry.header.name);
    entry.resume();
  }
  return names;
}

describe('pulling from a real registry', () => {
  let registry: TestRegistry;
  let rig: ImageRig;
  let web: BuiltImage;
  /** Paths asked for: what went over the line. */
  let requests: string[];

  const countingFetch: typeof fetch = (input, init) => {
    const url = input instanceof Request ? input.url : input.toString();
    requests.push(new URL(url).pathname.replace('/v2/', ''));
    return fetch(input, init);
  };

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'docker-registry');
    registry = await TestRegistry.start();
    web = await busyboxImage({ tag: 'web:1', files: [{ name: 'v', content: '1' }] });
    await registry.push(web, 'team/web', '1');
  });

  after(async () => {
    await (registry as TestRegistry | undefined)?.stop();
  });

  beforeEach(async () => {
    requests = [];
    rig = await ImageRig.open({ fetch: countingFetch });
  });

  afterEach(async () => {
    await rig.close();
  });

  it('pulls, unpacks, and tells how far it is', async () => {
    const progress: TransferProgress[] = [];
    const reference = `${registry.host}/team/web:1`;
    const image = await rig.images.pull(reference, { onProgress: (p) => progress.push(p) });
    assert.equal(image.id, web.id);
    assert.deepEqual(image.repoTags, [reference]);
    assert.equal(image.repoDigests.length, 1);
    const statuses = (layer: string): string[] => [
      ...new Set(progress.filter((p) => p.layer === layer).map((p) => p.status)),
    ];
    assert.deepEqual(statuses(''), ['downloading', 'done']);
    const layers = [...new Set(progress.map((p) => p.layer))].filter((l) => l !== '');
    assert.equal(layers.length, 2);
    for (const layer of layers) {
      assert.deepEqual(statuses(layer), ['waiting', 'downloading', 'unpacking', 'done']);
      const last = progress.filter((p) => p.layer === layer).at(-1);
      assert.equal(last?.currentBytes, last?.totalBytes);
    }
    assert.equal((await rig.images.lookup(reference))?.chain.length, 2);
    assert.deepEqual(readdirSync(rig.path('staging')), []);
  });

  it('asks nobody when the image is here, by tag and by digest', async () => {
    const reference = `${registry.host}/team/web:1`;
    const pulled = await rig.images.pull(reference);
    const byDigest = pulled.repoDigests[0] ?? '';
    await rig.reopen();
    requests = [];
    assert.equal((await rig.images.pull(reference)).id, web.id);
    assert.equal((await rig.images.pull(byDigest)).id, web.id);
    assert.equal((await rig.images.pull(byDigest, { refresh: true })).id, web.id);
    assert.equal((await rig.images.find(byDigest))?.id, web.id);
    assert.deepEqual(requests, []);
  });

  it('follows a tag that moved only when told to refresh', async () => {
    const reference = `${registry.host}/moving:now`;
    await registry.push(web, 'moving', 'now');
    await rig.images.pull(reference);
    const next = await busyboxImage({ tag: 'x:1', files: [{ name: 'v', content: '2' }] });
    await registry.push(next, 'moving', 'now');
    assert.equal((await rig.images.pull(reference)).id, web.id);
    requests = [];
    assert.equal((await rig.images.pull(reference, { refresh: true })).id, next.id);
    assert.equal((await rig.images.find(reference))?.id, next.id);
    const blobs = requests.filter((path) => path.includes('/blobs/'));
    assert.equal(blobs.length, 2, 'the configuration and the one layer that is new');
  });

  it('shares one pull among those who want the same image', async () => {
    const reference = `${registry.host}/team/web:1`;
    const pulls = Array.from({ length: 5 }, () => rig.images.pull(reference));
    const images = await Promise.all(pulls);
    assert.deepEqual(new Set(images.map((i) => i.id)), new Set([web.id]));
    assert.equal(requests.length, 4, 'manifest, configuration and two layers, each once');
  });

  it('lets one of them give up without harm to the others', async () => {
    const reference = `${registry.host}/team/web:1`;
    const controller = new AbortController();
    const [given, kept] = await Promise.allSettled([
      rig.images.pull(reference, {
        signal: controller.signal,
        onProgress: () => {
          controller.abort(new Error('no more'));
        },
      }),
      rig.images.pull(reference),
    ]);
    assert.equal(given.status, 'rejected');
    assert.equal(kept.status === 'fulfilled' ? kept.value.id : '', web.id);
  });

  it('leaves nothing when the last one gives up', async () => {
    const controller = new AbortController();
    const pull = rig.images.pull(`${registry.host}/team/web:1`, {
      signal: controller.signal,
      onProgress: ({ status }) => {
        if (status === 'unpacking') controller.abort(new Error('no more'));
      },
    });
    await assert.rejects(pull, /no more/);
    assert.deepEqual(readdirSync(rig.path('staging')), []);
    assert.deepEqual(await rig.images.list(), []);
  });

  it('takes the image for this machine from an index', async () => {
    const other = await makeImage({
      layers: [[{ name: 'f', content: 'x' }]],
      architecture: 's390x',
    });
    const digest = await registry.pushIndex([other, web], 'multi', '1');
    const image = await rig.images.pull(`${registry.host}/multi:1`);
    assert.equal(image.id, web.id);
    assert.deepEqual(image.repoDigests, [`${registry.host}/multi@${digest}`]);
    assert.equal((await rig.images.pull(`${registry.host}/multi@${digest}`)).id, web.id);
  });

  it("reads Docker's media types", async () => {
    await registry.push(web, 'docker', '1', { docker: true });
    assert.equal((await rig.images.pull(`${registry.host}/docker:1`)).id, web.id);
  });

  it('reads layers that are compressed with zstd', async function () {
    requiresCommand(this, 'skopeo');
    requiresCommand(this, 'zstd');
    const archive = rig.path('web.tar');
    writeFileSync(archive, await dockerArchive(web));
    const target = `docker://${registry.host}/zstd/web:1`;
    const flags = ['--dest-tls-verify=false', '--dest-compress-format=zstd', '--format=oci'];
    execFileSync('skopeo', ['copy', '-q', ...flags, `docker-archive:${archive}`, target]);
    const image = await rig.images.pull(`${registry.host}/zstd/web:1`);
    const details = await rig.images.inspect(image.id);
    assert.deepEqual(
      details.layers,
      web.layers.map((layer) => layer.digest),
    );
    const { layers } = JSON.parse(
      readFileSync(
        rig.path('blobs', 'sha256', image.repoDigests[0]?.split('sha256:')[1] ?? ''),
        'utf8',
      ),
    ) as { layers: { mediaType: string }[] };
    assert.ok(layers.every(({ mediaType }) => mediaType.endsWith('+zstd')));
    // not every reader of such archives knows zstd
    const download = rig.images.download(`${registry.host}/zstd/web:1`, {
      format: 'docker-archive',
    });
    const names = await entryNames(download);
    assert.deepEqual(
      names.slice(0, 2),
      web.layers.map((layer) => `${layer.digest.slice('sha256:'.length)}.tar`),
    );
    assert.deepEqual(readdirSync(rig.path('staging')), []);
  });

  it('takes the image of another platform when told to, and says which there are', async () => {
    const other = await makeImage({
      layers: [[{ name: 'f', content: 'x' }]],
      architecture: 's390x',
    });
    await registry.pushIndex([other, web], 'platforms', '1');
    await registry.push(web, 'single', '1');
    const name = `${registry.host}/platforms:1`;
    assert.equal((await rig.images.pull(name)).id, web.id);
    assert.equal((await rig.images.pull(name, { platform: 'linux/s390x' })).id, other.id);
    await assert.rejects(rig.images.pull(name, { platform: 'linux/arm/v7' }), {
      kind: 'not-found',
      message: new RegExp(
        `has no manifest for linux/arm/v7; it has linux/s390x, linux/${web.architecture}$`,
      ),
    });
    await assert.rejects(rig.images.pull(`${registry.host}/single:1`, { platform: 's390x' }), {
      kind: 'not-found',
      message: new RegExp(`has no manifest for linux/s390x; it has linux/${web.architecture}$`),
    });
    await assert.rejects(
      rig.images.pull(name, { platform: 'linux/' }),
      /platform "linux\/": a sys/,
    );
  });

  it('fetches again what is missing on disk', async () => {
    const reference = `${registry.host}/team/web:1`;
    await rig.images.pull(reference);
    rmSync(rig.path('layers'), { recursive: true });
    await rig.reopen();
    assert.equal(await rig.images.find(reference), undefined);
    requests = [];
    assert.equal((await rig.images.pull(reference)).id, web.id);
    assert.deepEqual(
      requests.map((path) => path.split('/').at(-2)),
      ['manifests'],
      'the blobs were kept, so only the manifest was asked for',
    );
  });

  it('fetches again a layer of which only the unpacked files are left', async () => {
    const reference = `${registry.host}/team/web:1`;
    await rig.images.pull(reference);
    const save = (): Promise<string[]> =>
      entryNames(rig.images.save([reference], { format: 'oci' }));
    const whole = await save();
    const { blob } = JSON.parse(
      readFileSync(rig.path('layers', web.layers[1]?.digest.slice(7) ?? '', 'layer.json'), 'utf8'),
    ) as { blob: string };
    rmSync(rig.path('blobs', 'sha256', blob.slice(7)));
    await assert.rejects(save(), /its archive is lost: pull or load the image again/);
    await rig.images.pull(reference, { refresh: true });
    assert.deepEqual(await save(), whole);
  });

  it('names image and answer when something is not there', async () => {
    const at = registry.host;
    await assert.rejects(rig.images.pull(`${at}/team/web:9`), {
      kind: 'not-found',
      message: `image "${at}/team/web:9" not found: registry answered 404 MANIFEST_UNKNOWN (manifest unknown) at http://${at}`,
    });
    const other = await makeImage({
      layers: [[{ name: 'f', content: 'x' }]],
      architecture: 's390x',
    });
    await registry.pushIndex([other], 'foreign', '1');
    await assert.rejects(rig.images.pull(`${at}/foreign:1`), {
      kind: 'not-found',
      message: new RegExp(
        `^image "${at}/foreign:1" has no manifest for linux/\\w+; it has linux/s390x$`,
      ),
    });
    await assert.rejects(rig.images.pull(`${at}/UPPER:1`), /must be in lower case/);
  });

  it('refuses what is no container image', async () => {
    const config = blobOf('{}');
    const chart = blobOf(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: {
          mediaType: 'application/vnd.cncf.helm.config.v1+json',
          digest: web.config.digest,
          size: 2,
        },
        layers: [],
      }),
    );
    assert.equal(config.bytes.length, 2);
    await registry.pushManifest(
      'team/web',
      'chart',
      chart,
      'application/vnd.oci.image.manifest.v1+json',
    );
    await assert.rejects(
      rig.images.pull(`${registry.host}/team/web:chart`),
      /web:chart" is no container image: its configuration is of type "application\/vnd.cncf.helm/,
    );
  });

  it('says that nobody listens', async function () {
    const gone = await TestRegistry.start();
    await gone.stop();
    await assert.rejects(rig.images.pull(`${gone.host}/web:1`), {
      kind: 'unavailable',
      message: new RegExp(
        `^image "${gone.host}/web:1" not pulled: registry http://${gone.host} not reachable: .*ECONNREFUSED`,
      ),
    });
    assert.equal(requests.length, 4, 'tried four times');
  });
});
