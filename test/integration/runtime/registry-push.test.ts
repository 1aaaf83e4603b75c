import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import type { TransferProgress } from '../../../runtime/engine.js';
import { cleanUp } from '../../support/clean-up.js';
import {
  busyboxImage,
  dockerArchive,
  ociArchive,
  streamOf,
  type BuiltImage,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { REGISTRY_PASSWORD, REGISTRY_USER, TestRegistry } from '../../support/registry.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { IDENTITY_TOKEN, TokenServer } from '../../support/token-server.js';

const ANN = { username: REGISTRY_USER, password: REGISTRY_PASSWORD, identityToken: '' };
const WRONG = { ...ANN, password: 'wrong' };

/** What went over the line: "PUT manifests 201". */
function recordingFetch(lines: string[]): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const url = new URL(input instanceof Request ? input.url : input.toString());
    const kind = url.searchParams.has('mount')
      ? 'mount'
      : (/\/(manifests|blobs\/uploads|blobs)\//.exec(url.pathname)?.[1] ?? url.pathname);
    lines.push(`${init?.method ?? 'GET'} ${kind} ${response.status}`);
    return response;
  };
}

describe('pushing to a real registry', () => {
  let registry: TestRegistry;
  let rig: ImageRig;
  let other: ImageRig;
  let web: BuiltImage;
  let lines: string[];

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'docker-registry');
    registry = await TestRegistry.start();
    web = await busyboxImage({ tag: 'web:1', files: [{ name: 'v', content: '1' }] });
  });

  after(async () => {
    await (registry as TestRegistry | undefined)?.stop();
  });

  beforeEach(async () => {
    lines = [];
    rig = await ImageRig.open({ fetch: recordingFetch(lines) });
    other = await ImageRig.open();
  });

  afterEach(async () => {
    await cleanUp(
      () => rig.close(),
      () => other.close(),
    );
  });

  const uploads = (): string[] => lines.filter((line) => /PATCH|mount/.test(line));

  async function loaded(archive: Buffer, ...names: string[]): Promise<void> {
    const [image] = await rig.images.load(streamOf(archive));
    for (const name of names) await rig.images.tag(image?.id ?? '', name);
  }

  it('sends what another engine pulls and finds whole', async () => {
    const name = `${registry.host}/team/oci:1`;
    await loaded(await ociArchive([web]), name);
    const progress: TransferProgress[] = [];
    const { digest } = await rig.images.push(name, { onProgress: (p) => progress.push(p) });
    const pulled = await other.images.pull(`${registry.host}/team/oci@${digest}`);
    assert.equal(pulled.id, web.id);
    const here = await rig.images.find(name);
    assert.deepEqual(here?.repoDigests, [`${registry.host}/team/oci@${digest}`]);
    const layers = [...new Set(progress.map((p) => p.layer))];
    assert.equal(layers.length, 3, 'two layers and the configuration');
    for (const layer of layers) {
      const of = progress.filter((p) => p.layer === layer);
      assert.deepEqual([...new Set(of.map((p) => p.status))], ['waiting', 'pushing', 'done']);
      assert.equal(of.at(-1)?.currentBytes, of.at(-1)?.totalBytes);
    }
  });

  it('sends plain layers compressed, and nothing the second time, also after a restart', async () => {
    const name = `${registry.host}/team/plain:1`;
    await loaded(await dockerArchive(web), name);
    const first = await rig.images.push(name);
    assert.equal(uploads().filter((line) => line.startsWith('PATCH')).length, 3);
    await rig.reopen();
    lines.length = 0;
    assert.deepEqual(await rig.images.push(name), first);
    assert.deepEqual(uploads(), []);
    assert.equal((await other.images.pull(name)).id, web.id);
    assert.equal(
      (await other.images.inspect(name)).image?.repoDigests[0]?.split('@')[1],
      first.digest,
    );
  });

  it('compresses the same way everywhere', async () => {
    const name = `${registry.host}/team/same:1`;
    await loaded(await dockerArchive(web), name);
    const { digest } = await rig.images.push(name);
    await other.images.load(streamOf(await dockerArchive(web)));
    await other.images.tag('web:1', name);
    assert.equal((await other.images.push(name)).digest, digest);
  });

  it('mounts what another repository of the registry has', async () => {
    const [from, to] = [`${registry.host}/from/web:1`, `${registry.host}/to/web:1`];
    await registry.push(web, 'from/web', '1');
    const pulled = await rig.images.pull(from);
    await rig.images.tag(from, to);
    lines.length = 0;
    const statuses = new Set<string>();
    const { digest } = await rig.images.push(to, { onProgress: (p) => statuses.add(p.status) });
    assert.deepEqual(uploads(), ['POST mount 201', 'POST mount 201', 'POST mount 201']);
    assert.deepEqual([...statuses], ['mounted']);
    assert.equal(pulled.repoDigests[0]?.split('@')[1], digest, 'the manifest it came with');
    assert.equal((await other.images.pull(to)).id, web.id);
  });

  it('refuses what cannot be pushed', async () => {
    await assert.rejects(rig.images.push(`${registry.host}/nobody:1`), { kind: 'not-found' });
    const digest = `sha256:${'0'.repeat(64)}`;
    await assert.rejects(rig.images.push(`${registry.host}/x@${digest}`), {
      kind: 'invalid-argument',
      message: /a digest cannot be pushed, only a tag/,
    });
  });

  it('downloads an archive and keeps nothing', async () => {
    await registry.push(web, 'down/web', '1');
    const name = `${registry.host}/down/web:1`;
    for (const format of ['docker-archive', 'oci'] as const) {
      const archive = await buffer(Readable.from(rig.images.download(name, { format })));
      assert.deepEqual(await rig.images.list(), []);
      const [image] = await other.images.load(streamOf(archive));
      assert.deepEqual([image?.id, image?.repoTags], [web.id, [name]]);
    }
  });
});

describe('registries that want to know who asks', () => {
  let rig: ImageRig;
  let web: BuiltImage;

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'docker-registry');
    web = await busyboxImage({ tag: 'web:1' });
  });

  beforeEach(async () => {
    rig = await ImageRig.open({ credentialsFile: '/nonexistent' });
  });

  afterEach(async () => {
    await rig.close();
  });

  async function load(name: string): Promise<void> {
    const [image] = await rig.images.load(streamOf(await dockerArchive(web)));
    await rig.images.tag(image?.id ?? '', name);
  }

  describe('by name and password', () => {
    let registry: TestRegistry;
    before(async () => {
      registry = await TestRegistry.start({
        auth: '{ htpasswd: { realm: tests, path: HTPASSWD } }',
      });
    });
    after(async () => {
      await (registry as TestRegistry | undefined)?.stop();
    });

    it('takes a login or refuses it', async () => {
      assert.deepEqual(await rig.images.login(registry.host, ANN), { identityToken: '' });
      await assert.rejects(rig.images.login(registry.host, WRONG), {
        kind: 'unauthenticated',
        message: new RegExp(
          `^login at ${registry.host} refused: registry answered 401 UNAUTHORIZED`,
        ),
      });
    });

    it('is pushed to and pulled from with credentials of the call or of the file', async () => {
      const name = `${registry.host}/web:1`;
      await load(name);
      await assert.rejects(rig.images.push(name), {
        kind: 'unauthenticated',
        message: new RegExp(`needs a login: hatoba login ${registry.host}$`),
      });
      await rig.images.push(name, { auth: ANN });
      const file = rig.path('credentials.json');
      const other = await ImageRig.open({ credentialsFile: file });
      try {
        await assert.rejects(other.images.pull(name), { kind: 'unauthenticated' });
        await assert.rejects(other.images.pull(name, { auth: WRONG }), {
          message: new RegExp(`the credentials for ${registry.host} are wrong`),
        });
        const auth = Buffer.from(`${ANN.username}:${ANN.password}`).toString('base64');
        writeFileSync(file, JSON.stringify({ auths: { [registry.host]: { auth } } }));
        assert.equal((await other.images.pull(name)).id, web.id);
      } finally {
        await other.close();
      }
    });
  });

  describe('by tokens', () => {
    let tokens: TokenServer;
    let registry: TestRegistry;
    before(async () => {
      tokens = await TokenServer.start();
      registry = await TestRegistry.start({ auth: tokens.registryAuth });
    });
    after(async () => {
      await cleanUp(
        () => (registry as TestRegistry | undefined)?.stop(),
        () => (tokens as TokenServer | undefined)?.stop(),
      );
    });
    beforeEach(() => {
      tokens.requests.length = 0;
    });

    it('gives an identity token at login, which then stands for the password', async () => {
      const { identityToken } = await rig.images.login(registry.host, ANN);
      assert.equal(identityToken, IDENTITY_TOKEN);
      await assert.rejects(rig.images.login(registry.host, WRONG), { kind: 'unauthenticated' });
      const name = `${registry.host}/private/web:1`;
      await load(name);
      const auth = { username: '', password: '', identityToken };
      await rig.images.push(name, { auth });
      assert.deepEqual(tokens.requests.at(-1), {
        method: 'POST',
        user: REGISTRY_USER,
        scopes: ['repository:private/web:pull,push'],
      });
    });

    it('lets everybody have what is public, and only what is', async () => {
      for (const repository of ['public/web', 'private/web']) {
        await load(`${registry.host}/${repository}:2`);
        await rig.images.push(`${registry.host}/${repository}:2`, { auth: ANN });
      }
      const other = await ImageRig.open();
      try {
        assert.equal((await other.images.pull(`${registry.host}/public/web:2`)).id, web.id);
        await assert.rejects(other.images.pull(`${registry.host}/private/web:2`), {
          kind: 'unauthenticated',
        });
        const name = `${registry.host}/private/web:2`;
        assert.equal((await other.images.pull(name, { auth: ANN })).id, web.id);
      } finally {
        await other.close();
      }
    });

    it('asks for the right to read the repository that gives a layer', async () => {
      const [from, to] = [`${registry.host}/one/web:1`, `${registry.host}/two/web:1`];
      await load(from);
      await rig.images.push(from, { auth: ANN });
      await rig.images.tag(from, to);
      const statuses = new Set<string>();
      await rig.images.push(to, { auth: ANN, onProgress: (p) => statuses.add(p.status) });
      assert.deepEqual([...statuses], ['mounted']);
      assert.deepEqual(tokens.requests.at(-1)?.scopes, [
        'repository:two/web:pull,push',
        'repository:one/web:pull',
      ]);
    });
  });
});
