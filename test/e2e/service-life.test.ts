import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { TaskRow } from '../../cli/output/rows.js';
import { eventually } from '../support/eventually.js';
import { countBy, DevCluster, requiresDevCluster } from './cluster.js';

describe('what a service asks for', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await cluster.loadImages();
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  const nodesOf = (tasks: readonly TaskRow[]): Record<string, number> =>
    countBy(tasks, (t) => t.node);

  async function deploy(stack: string, ...lines: string[]): Promise<number> {
    const file = await cluster.compose(`${stack}.yaml`, lines.join('\n'));
    return (await cluster.run('deploy', '-f', file, stack)).code;
  }

  it('a constraint takes effect when it changes, on the tasks it excludes alone', async () => {
    const constrained = (...constraints: string[]): Promise<number> =>
      deploy(
        'where',
        'services:',
        '  a:',
        '    image: hello-api:1',
        '    deploy:',
        '      replicas: 4',
        '      update_config: {parallelism: 0, monitor: 500ms}',
        `      placement: {constraints: ${JSON.stringify(constraints)}}`,
      );
    assert.equal(await constrained('node.hostname!=n3'), 0);
    const before = await cluster.runningTasks('where_a');
    assert.deepEqual(nodesOf(before), { n1: 2, n2: 2 });
    assert.equal(await constrained('node.hostname!=n1'), 0);
    const after = await cluster.runningTasks('where_a');
    assert.deepEqual(nodesOf(after), { n2: 2, n3: 2 });
    const stayed = after.filter((t) => before.some((b) => b.id === t.id));
    assert.deepEqual(nodesOf(stayed), { n2: 2 });
    assert.equal(await constrained(), 0);
    assert.deepEqual(
      (await cluster.runningTasks('where_a')).map((t) => t.id).sort(),
      after.map((t) => t.id).sort(),
      'what may stay, stays',
    );
    await cluster.hatoba('stack', 'rm', 'where');
  });

  it('an update that fails goes back by itself, and says why', async () => {
    const version = (image: string, command: string): Promise<number> =>
      deploy(
        'back',
        'services:',
        '  a:',
        `    image: ${image}`,
        `    command: ${command}`,
        '    deploy:',
        '      replicas: 3',
        '      update_config: {failure_action: rollback, order: start-first, monitor: 2s}',
        '      rollback_config: {parallelism: 0, monitor: 500ms}',
      );
    assert.equal(await version('hello-web:1', '[sleep, "1000"]'), 0);
    const before = await cluster.runningTasks('back_a');
    assert.equal(await version('hello-web:2', '[sh, -c, "exit 7"]'), 3);
    await eventually(async () => {
      const { updateStatus } = await cluster.service('back_a');
      assert.equal(updateStatus.state, 'rollback_completed');
    });
    const after = await cluster.runningTasks('back_a');
    assert.deepEqual(
      countBy(after, (t) => t.image),
      { 'hello-web:1': 3 },
    );
    const kept = after.filter((t) => before.some((b) => b.id === t.id));
    assert.equal(kept.length, 3, 'no task of the former version was given up');
    const failed = (await cluster.tasks('back_a')).find((t) => t.exitCode === 7);
    assert.equal(failed?.image, 'hello-web:2');
    await cluster.hatoba('stack', 'rm', 'back');
  });

  it('a restart policy gives up after its attempts', async () => {
    const code = await deploy(
      'tries',
      'services:',
      '  a:',
      '    image: hello-api:1',
      '    command: [sh, -c, "exit 3"]',
      '    deploy: {restart_policy: {condition: on-failure, delay: 200ms, max_attempts: 2}}',
    );
    assert.equal(code, 3);
    await eventually(async () => {
      const tasks = await cluster.tasks('tries_a');
      assert.deepEqual(
        tasks.map((t) => [t.state, t.exitCode]),
        [1, 2, 3].map(() => ['failed', 3]),
        tasks.map((t) => t.error).join('; '),
      );
    });
    await cluster.hatoba('stack', 'rm', 'tries');
  });

  it('a task of a lost host says that nobody knows of it', async () => {
    assert.equal(
      await deploy('lost', 'services: {a: {image: "hello-api:1", deploy: {replicas: 3}}}'),
      0,
    );
    const before = await cluster.runningTasks('lost_a');
    const there = before.find((t) => t.node === 'n3');
    await cluster.hatoba('dev', 'kill', 'n3');
    await eventually(async () => {
      const tasks = await cluster.tasks('lost_a');
      const task = tasks.find((t) => t.id === there?.id);
      assert.match(task?.error ?? '', /^node n3 is down: whether the container still runs/);
      const elsewhere = await cluster.runningTasks('lost_a');
      assert.equal(elsewhere.length, 3);
      assert.ok(elsewhere.every((t) => t.node !== 'n3'));
    });
  });

  it('leaves no warning in the log of the manager', () => {
    const log = readFileSync('/var/lib/hatoba/dev/n1/log/manager.log', 'utf8');
    assert.doesNotMatch(log, /Warning:/);
  });
});
