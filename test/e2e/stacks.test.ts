import assert from 'node:assert/strict';
import type { StackRow, TaskRow } from '../../cli/output/rows.js';
import { DevCluster, requiresDevCluster } from './cluster.js';

describe('stacks', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up(2);
    await cluster.loadImages();
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  const idsOf = (tasks: readonly TaskRow[]): string[] => tasks.map((t) => t.id).sort();
  const file = (a: string, b: string): Promise<string> =>
    cluster.compose('shop.yaml', `services:\n  a: ${a}\n  b: ${b}\n`);
  const plain = '{image: "hello-api:1", deploy: {replicas: 2, update_config: {monitor: 500ms}}}';

  it('deployed again without a change stay as they are', async () => {
    const path = await file(plain, plain);
    await cluster.hatoba('deploy', '-f', path, 'shop');
    const before = [
      ...(await cluster.runningTasks('shop_a')),
      ...(await cluster.runningTasks('shop_b')),
    ];
    assert.equal(before.length, 4);
    const { stderr } = await cluster.run('deploy', '-f', path, 'shop');
    assert.match(stderr, /service shop_a: unchanged/);
    assert.match(stderr, /network shop_default: unchanged/);
    const after = [
      ...(await cluster.runningTasks('shop_a')),
      ...(await cluster.runningTasks('shop_b')),
    ];
    assert.deepEqual(idsOf(after), idsOf(before));
  });

  it('changed in one service roll that one alone', async () => {
    const before = await cluster.runningTasks('shop_a');
    const changed = plain.replace('{image', '{environment: {COLOR: blue}, image');
    await cluster.hatoba('deploy', '-f', await file(plain, changed), 'shop');
    assert.deepEqual(idsOf(await cluster.runningTasks('shop_a')), idsOf(before));
    const [task] = await cluster.runningTasks('shop_b');
    assert.ok(task !== undefined);
    assert.equal((await cluster.exec(task.id, 'sh', '-c', 'echo $COLOR')).trim(), 'blue');
  });

  it('keep a service the file no longer has, until --prune', async () => {
    const path = await cluster.compose('one.yaml', `services:\n  a: ${plain}\n`);
    await cluster.hatoba('deploy', '-f', path, 'shop');
    assert.equal((await cluster.runningTasks('shop_b')).length, 2);
    const { code, stderr } = await cluster.run('deploy', '--prune', '-f', path, 'shop');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /service shop_b: removed/);
    const [shop] = await cluster.json<StackRow[]>('stack', 'ls');
    assert.equal(shop?.name, 'shop');
    const running = ['--filter', 'desired-state=running'];
    assert.equal((await cluster.json<TaskRow[]>('stack', 'ps', 'shop', ...running)).length, 2);
  });

  it('take values from the environment and from .env', async () => {
    await cluster.compose('.env', 'FROM_DOT_ENV=dot\nBOTH=dot\n');
    const path = await cluster.compose(
      'vars.yaml',
      'services: {v: {image: "hello-api:${TAG:-1}", environment: {A: "${FROM_DOT_ENV}", B: "${BOTH}"}}}',
    );
    process.env['BOTH'] = 'shell';
    try {
      await cluster.hatoba('deploy', '-f', path, 'vars');
    } finally {
      delete process.env['BOTH'];
    }
    const [task] = await cluster.runningTasks('vars_v');
    assert.ok(task !== undefined);
    assert.equal((await cluster.exec(task.id, 'sh', '-c', 'echo $A $B')).trim(), 'dot shell');
  });

  it('restart a task that ends, after its delay, and say with which code it ended', async () => {
    const path = await cluster.compose(
      'crash.yaml',
      'services: {c: {image: "hello-api:1", command: sh -c "exit 3", deploy: {restart_policy: {delay: 200ms, max_attempts: 2}}}}',
    );
    const { code, stderr } = await cluster.run('deploy', '-f', path, 'crash');
    assert.equal(code, 3);
    assert.match(stderr, /task crash_c\.1: .*non-zero exit \(3\)/);
    const failed = (await cluster.tasks('crash_c')).filter((t) => t.state === 'failed');
    assert.ok(failed.length >= 2);
    assert.deepEqual(new Set(failed.map((t) => t.exitCode)), new Set([3]));
  });

  it('come back when deployed right after they were removed', async () => {
    const path = await cluster.compose('one.yaml', `services:\n  a: ${plain}\n`);
    await cluster.hatoba('stack', 'rm', '--detach', 'shop');
    await cluster.hatoba('deploy', '-f', path, 'shop');
    assert.equal((await cluster.runningTasks('shop_a')).length, 2);
    await cluster.hatoba('stack', 'rm', 'shop', 'vars', 'crash');
    assert.deepEqual(await cluster.json('stack', 'ls'), []);
    assert.deepEqual(await cluster.json('service', 'ls'), []);
  });
});
