import assert from 'node:assert/strict';
import type { Chunk, EngineEvent, ImageImportInput } from '../../../proto/gen/hatoba/v1/engine.js';
import { readStream, sendStream, unary } from '../../../proto/wire/client.js';
import { cleanUp } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { AgentHost } from './agent-host.js';
import { LocalRig } from './local-rig.js';
import { TestManager } from './test-manager.js';

describe('images of one node, over the socket', function () {
  let manager: TestManager;
  let host: AgentHost;
  let rig: LocalRig;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip', 'busybox'])
      requiresCommand(this, command);
    manager = await TestManager.start();
    host = new AgentHost(manager);
    rig = new LocalRig(host);
    await host.setUp();
    await host.start();
    await host.loadImage(await dockerArchive(await busyboxImage({ tag: 'box:1' })));
  });
  after(async () => {
    await cleanUp(
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
    );
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(host.log.slice(-4000));
    for (const { id } of await rig.list()) await rig.remove(id);
  });

  async function collect(stream: AsyncIterable<Chunk>): Promise<Chunk[]> {
    const chunks: Chunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
  }
  async function tags(): Promise<string[]> {
    const { images } = await unary(host.engine.imageList.bind(host.engine), { all: false });
    return images.flatMap(({ repoTags }) => repoTags).sort();
  }

  for (const format of ['docker-archive', 'oci']) {
    it(`come back from an archive as they went: ${format}`, async () => {
      const { engine } = host;
      const image = 'box:1';
      const before = await unary(engine.imageInspect.bind(engine), { image });
      const archive = await collect(readStream(engine.imageSave({ images: [image], format })));
      const removed = await unary(engine.imageRemove.bind(engine), {
        images: [image],
        force: false,
      });
      assert.deepEqual(removed.untagged, [image]);
      assert.deepEqual(await tags(), []);
      const { images } = await sendStream(engine.imageLoad.bind(engine), archive);
      assert.deepEqual(
        images.map(({ id }) => id),
        [before.image?.id],
      );
      assert.equal(await rig.say('echo works'), 'works');
    });
  }

  it('say what is wrong with what is asked for', async () => {
    const { engine } = host;
    await assert.rejects(collect(readStream(engine.imageSave({ images: ['no:1'], format: '' }))), {
      kind: 'not-found',
    });
    await assert.rejects(
      collect(readStream(engine.imageSave({ images: ['box:1'], format: 'zip' }))),
      {
        message: /"zip" is no format of an archive: use docker-archive or oci/,
      },
    );
    await assert.rejects(
      sendStream(engine.imageLoad.bind(engine), [{ data: Buffer.from('no tar') }]),
    );
    await assert.rejects(sendStream(engine.imageImport.bind(engine), []), {
      message: /first message of an import/,
    });
    await assert.rejects(
      unary(engine.registryLogin.bind(engine), { server: '127.0.0.1:1', auth: undefined }),
      { message: /needs credentials/ },
    );
    assert.deepEqual(await tags(), ['box:1']);
  });

  it('are made from the files of a container, named and told of', async () => {
    const { engine } = host;
    const seen: EngineEvent[] = [];
    const watching = (async () => {
      const call = engine.events({ sinceMs: 1, untilMs: 0 });
      for await (const event of readStream(call)) {
        seen.push(event);
        if (event.action === 'untag' && event.attributes['name'] === 'made:2') return;
      }
    })();
    const id = await rig.create({ spec: { args: ['true'] } });
    const files = await collect(readStream(engine.containerExport({ container: id })));
    const start = {
      reference: 'made:1',
      message: 'by hand',
      changes: ['CMD ["echo","made"]'],
      platform: '',
    };
    const inputs: ImageImportInput[] = [
      { input: { $case: 'start', value: start } },
      ...files.map(({ data }): ImageImportInput => ({ input: { $case: 'chunk', value: data } })),
    ];
    const made = await sendStream(engine.imageImport.bind(engine), inputs);
    assert.deepEqual(made.repoTags, ['made:1']);
    await unary(engine.imageTag.bind(engine), { source: 'made:1', target: 'made:2' });
    const { entries } = await unary(engine.imageHistory.bind(engine), { image: 'made:2' });
    assert.equal(entries[0]?.comment, 'by hand');
    const ran = await rig.run({
      spec: { image: 'made:2', command: ['/bin/echo'], args: ['made'] },
    });
    await rig.wait(ran.id);
    assert.deepEqual(await rig.logs(ran.id), ['made']);
    await assert.rejects(
      unary(engine.imageRemove.bind(engine), { images: [made.id], force: false }),
      { kind: 'failed-precondition' },
    );
    await rig.remove(ran.id);
    const usage = await unary(engine.diskUsage.bind(engine), {});
    assert.equal(usage.images?.count, 2);
    assert.ok(usage.images.sizeBytes > 0 && usage.totalBytes > 0);
    const removed = await unary(engine.imageRemove.bind(engine), {
      images: ['made:1', 'made:2'],
      force: false,
    });
    assert.deepEqual(removed.untagged.sort(), ['made:1', 'made:2']);
    assert.deepEqual(await tags(), ['box:1']);
    await watching;
    const actions = seen.map(({ type, action }) => `${type} ${action}`);
    for (const expected of [
      'image load',
      'container create',
      'image import',
      'image tag',
      'container start',
      'container die',
      'container destroy',
    ]) {
      // prettier-ignore
      assert.ok(actions.includes(expected), `${expected} is not among ${actions.join(', ')}`);
    }
  });

  it('are pruned when no container has them', async () => {
    const { engine } = host;
    await rig.create({ name: 'user', spec: { args: ['true'] } });
    const first = await unary(engine.imagePrune.bind(engine), { all: true, olderThanMs: 0 });
    assert.deepEqual(first.removed, []);
    await rig.remove('user');
    const second = await unary(engine.imagePrune.bind(engine), { all: true, olderThanMs: 0 });
    assert.equal(second.removed.length > 0, true);
    assert.ok(second.reclaimedBytes > 0);
    await eventually(async () => assert.deepEqual(await tags(), []));
  });
});
