import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cleanUp } from '../support/clean-up.js';
import { eventually } from '../support/eventually.js';
import { busyboxImage, makeImage, ociArchive } from '../support/image-fixtures.js';
import { TestRegistry } from '../support/registry.js';
import { requiresCommand } from '../support/requires.js';
import type { ImageRow } from '../../cli/output/rows.js';
import { ADDRESS, CLI, DevCluster, requiresDevCluster } from './cluster.js';

const REGISTRY = `${ADDRESS.n1}:5000`;

describe('images from a registry and from archives', function () {
  let cluster: DevCluster;
  let registry: TestRegistry | undefined;
  let opened: DevCluster | undefined;

  before(async function () {
    requiresDevCluster(this);
    requiresCommand(this, 'docker-registry');
    opened = cluster = await DevCluster.up(3, '--insecure-registry', REGISTRY);
    const prefix = [process.execPath, CLI, 'dev', 'exec', 'n1', '--'];
    registry = await TestRegistry.start({ host: REGISTRY, prefix });
    for (const tag of ['1', '2']) {
      const files = [{ name: 'etc/release', content: `release ${tag}\n` }];
      await registry.push(await busyboxImage({ tag: `web:${tag}`, files }), 'team/web', tag);
    }
  });
  after(async () => {
    await cleanUp(
      () => registry?.stop(),
      () => opened?.down(),
    );
  });

  async function nodesWith(tag: string): Promise<string[]> {
    const images = await cluster.json<ImageRow[]>('image', 'ls');
    return images.flatMap((i) => (i.tags.includes(tag) ? i.nodes : [])).sort();
  }

  it('are pulled on every node, or on the one named', async () => {
    await cluster.hatoba('image', 'pull', `${REGISTRY}/team/web:1`);
    assert.deepEqual(await nodesWith(`${REGISTRY}/team/web:1`), ['n1', 'n2', 'n3']);
  });

  it('are pulled by the agents of the tasks that need them', async () => {
    const file = await cluster.compose(
      'web.yaml',
      `services: {web: {image: "${REGISTRY}/team/web:2", command: sleep 1000, init: true, deploy: {replicas: 2}}}`,
    );
    assert.deepEqual(await nodesWith(`${REGISTRY}/team/web:2`), []);
    await cluster.hatoba('deploy', '-f', file, 'shop');
    const tasks = await cluster.runningTasks('shop_web');
    assert.equal(tasks.length, 2);
    for (const task of tasks) {
      assert.equal(await cluster.exec(task.id, 'cat', '/etc/release'), 'release 2\n');
    }
    assert.deepEqual(
      await nodesWith(`${REGISTRY}/team/web:2`),
      [...new Set(tasks.map((t) => t.node))].sort(),
    );
  });

  it('that are not there reject the task, with what the registry said', async () => {
    const file = await cluster.compose(
      'none.yaml',
      `services: {none: {image: "${REGISTRY}/team/web:none", command: sleep 1000}}`,
    );
    const { code } = await cluster.run('deploy', '-f', file, 'lost');
    assert.equal(code, 3);
    await eventually(async () => {
      const task = (await cluster.tasks('lost_none')).find((t) => t.error !== '');
      assert.equal(task?.state, 'rejected');
      assert.match(task.error, /web:none" not found: registry answered 404 MANIFEST_UNKNOWN/);
    });
    await cluster.hatoba('stack', 'rm', 'lost');
  });

  it('are loaded from an OCI layout', async () => {
    const base = await busyboxImage({ tag: 'laid-out:1' });
    const archive = join(cluster.folder, 'laid-out.tar');
    writeFileSync(archive, await ociArchive([base]));
    await cluster.hatoba('image', 'load', archive);
    assert.deepEqual(await nodesWith('laid-out:1'), ['n1', 'n2', 'n3']);
  });

  it('that are damaged are refused, with the reason', async () => {
    const image = await makeImage({
      tags: ['evil:1'],
      layers: [[{ name: '../../../../evil', content: 'x' }]],
    });
    const archive = join(cluster.folder, 'evil.tar');
    writeFileSync(archive, await ociArchive([image]));
    const { code, stderr } = await cluster.run('image', 'load', archive, '--node', 'n2');
    assert.equal(code, 1, stderr);
    assert.match(stderr, /leaves the layer with "\.\."/);
    assert.deepEqual(await nodesWith('evil:1'), []);
  });
});
