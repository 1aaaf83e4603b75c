import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import type { ArchiveFormat } from '../../../runtime/engine.js';
import { cleanUp } from '../../support/clean-up.js';
import {
  busyboxImage,
  ociArchive,
  streamOf,
  type BuiltImage,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { Podman } from '../../support/podman.js';
import { TestRegistry } from '../../support/registry.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

const call = promisify(execFile);

const WEB = 'docker.io/library/web:1';
const API = 'docker.io/library/api:1';

async function skopeo(...args: readonly string[]): Promise<string> {
  return (await call('skopeo', [...args])).stdout.trimEnd();
}

describe('images between Hatoba, skopeo and podman', function () {
  let folder: string;
  let rig: ImageRig;
  let podman: Podman;
  let registry: TestRegistry;
  let web: BuiltImage;
  let api: BuiltImage;

  before(async function () {
    requiresRoot(this);
    for (const command of ['skopeo', 'podman', 'docker-registry']) requiresCommand(this, command);
    web = await busyboxImage({
      tag: 'web:1',
      files: [{ name: 'srv/page', content: 'hello' }],
      config: { Cmd: ['cat', '/srv/page'], Labels: { of: 'web' }, ExposedPorts: { '80/tcp': {} } },
    });
    api = await busyboxImage({ tag: 'api:1', config: { Cmd: ['echo', 'api'] } });
    registry = await TestRegistry.start();
  });

  after(async () => {
    await (registry as TestRegistry | undefined)?.stop();
  });

  beforeEach(async () => {
    folder = mkdtempSync('/var/tmp/ht-interop-');
    podman = new Podman(join(folder, 'podman'));
    rig = await ImageRig.open();
    await rig.images.load(streamOf(await ociArchive([web, api])));
  });

  afterEach(async () => {
    await cleanUp(
      () => rig.close(),
      () => podman.close(),
      () => rmSync(folder, { recursive: true }),
    );
  });

  const at = (name: string): string => join(folder, name);

  async function save(references: string[], format: ArchiveFormat): Promise<string> {
    const file = at(`${format}.tar`);
    await pipeline(rig.images.save(references, { format }), createWriteStream(file));
    return file;
  }

  /** Into a store that has nothing yet; gives [tags, layers] of each image. */
  async function load(file: string): Promise<[string[], string[]][]> {
    const empty = await ImageRig.open();
    try {
      const images = await empty.images.load(createReadStream(file) as AsyncIterable<Buffer>);
      const found: [string[], string[]][] = [];
      for (const { id, repoTags } of images) {
        found.push([repoTags, (await empty.images.inspect(id)).layers]);
      }
      return found;
    } finally {
      await empty.close();
    }
  }

  const layersOf = (image: BuiltImage): string[] => image.layers.map((layer) => layer.digest);

  const transports: { format: ArchiveFormat; transport: string }[] = [
    { format: 'docker-archive', transport: 'docker-archive' },
    { format: 'oci', transport: 'oci-archive' },
  ];
  for (const { format, transport } of transports) {
    it(`skopeo reads what is saved as ${format}, several images in one`, async () => {
      const file = await save(['web:1', 'api:1'], format);
      for (const [name, image] of [[WEB, web] as const, [API, api] as const]) {
        const source = `${transport}:${file}:${name}`;
        assert.deepEqual(
          JSON.parse(await skopeo('inspect', '--config', '--raw', source)),
          JSON.parse(image.config.bytes.toString()),
        );
        await skopeo('copy', source, `dir:${at(`copy-of-${image.id.slice(7, 13)}`)}`);
      }
    });

    it(`podman reads and runs what is saved as ${format}`, async () => {
      const file = await save(['web:1'], format);
      assert.equal(await podman.call('load', '--quiet', '--input', file), `Loaded image: ${WEB}`);
      const inspected = await podman.call('image', 'inspect', '--format', '{{.Id}}', WEB);
      assert.equal(`sha256:${inspected}`, web.id);
      assert.equal(await podman.run(WEB), 'hello');
    });

    it(`what podman saves as ${transport} is loaded`, async () => {
      await podman.call('load', '--quiet', '--input', await save(['web:1'], 'docker-archive'));
      const file = at('saved.tar');
      await podman.call('save', '--quiet', '--format', transport, '--output', file, WEB);
      assert.deepEqual(await load(file), [[['web:1'], layersOf(web)]]);
    });

    it(`what skopeo writes as ${transport} is loaded`, async () => {
      const file = at('copied.tar');
      const source = `docker-archive:${await save(['web:1'], 'docker-archive')}`;
      await skopeo('copy', source, `${transport}:${file}:example.org/team/web:7`);
      assert.deepEqual(await load(file), [[['example.org/team/web:7'], layersOf(web)]]);
    });
  }

  it('podman reads several images of one docker-archive, and Hatoba several of podman', async () => {
    const file = await save(['web:1', 'api:1'], 'docker-archive');
    const said = await podman.call('load', '--quiet', '--input', file);
    assert.deepEqual(said.split('\n').sort(), [`Loaded image: ${API}`, `Loaded image: ${WEB}`]);
    const saved = at('several.tar');
    await podman.call('save', '--quiet', '--multi-image-archive', '--output', saved, WEB, API);
    assert.deepEqual((await load(saved)).sort(), [
      [['api:1'], layersOf(api)],
      [['web:1'], layersOf(web)],
    ]);
  });

  it('a layout of skopeo, packed as a tar, is loaded', async () => {
    const source = `docker-archive:${await save(['api:1'], 'docker-archive')}`;
    await skopeo('copy', source, `oci:${at('layout')}:api:1`);
    await call('tar', ['-cf', at('layout.tar.gz'), '-z', '-C', at('layout'), '.']);
    assert.deepEqual(await load(at('layout.tar.gz')), [[['api:1'], layersOf(api)]]);
  });

  it('podman pulls and runs what Hatoba pushes, and Hatoba what podman pushes', async () => {
    const pushed = `${registry.host}/team/web:1`;
    await rig.images.tag('web:1', pushed);
    const { digest } = await rig.images.push(pushed);
    await podman.call('pull', '--quiet', '--tls-verify=false', pushed);
    assert.equal(await podman.run(pushed), 'hello');
    const back = `${registry.host}/podman/web:1`;
    await podman.call('push', '--quiet', '--tls-verify=false', pushed, back);
    const pulled = await rig.images.pull(back);
    assert.deepEqual((await rig.images.inspect(pulled.id)).layers, layersOf(web));
    const there = await skopeo(
      'inspect',
      '--tls-verify=false',
      '--format',
      '{{.Digest}}',
      `docker://${pushed}`,
    );
    assert.equal(there, digest);
  });

  it('an image keeps its digest on the way through Hatoba', async () => {
    const first = `${registry.host}/first/web:1`;
    const digest = await registry.push(web, 'first/web', '1', { docker: true });
    await rig.images.pull(first);
    const second = `${registry.host}/second/web:1`;
    await rig.images.tag(first, second);
    assert.equal((await rig.images.push(second)).digest, digest);
    const file = await save([second], 'oci');
    assert.equal(await skopeo('inspect', '--format', '{{.Digest}}', `oci-archive:${file}`), digest);
  });
});
