import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import type { TaskRow } from '../../cli/output/rows.js';
import { placesOf } from '../../deploy/dev/layout.js';
import { eventually } from '../support/eventually.js';
import {
  ADDRESS,
  containersOn,
  countBy,
  DevCluster,
  fetchText,
  requiresDevCluster,
  run,
  HELLO,
  type HostName,
} from './cluster.js';

const SERVICES = ['hello_web', 'hello_api'];

describe('what happens to a cluster', function () {
  let cluster: DevCluster;
  let cardOfN3 = '';

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await cluster.loadImages();
    await cluster.hatoba('deploy', '-f', HELLO, 'hello');
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  /** Waits until exactly the wanted replicas run, on `hosts` only, each once. */
  const settled = (hosts: readonly string[]): Promise<TaskRow[]> =>
    eventually(
      async () => {
        const tasks = (await Promise.all(SERVICES.map((s) => cluster.runningTasks(s)))).flat();
        assert.deepEqual(
          countBy(tasks, (t) => t.service),
          { hello_web: 6, hello_api: 3 },
        );
        assert.equal(new Set(tasks.map((t) => t.name)).size, 9, 'one task for each slot');
        assert.deepEqual(
          tasks.filter((t) => !hosts.includes(t.node)).map((t) => t.name),
          [],
        );
        return tasks;
      },
      { everyMs: 100 },
    );
  const nodeState = async (name: string): Promise<string | undefined> =>
    (await cluster.nodes()).find((n) => n.hostname === name)?.state;
  /** What must stay the same for a task that nothing touched. */
  const lives = (tasks: readonly TaskRow[]): unknown =>
    tasks.map((t) => [t.id, t.pid, t.startedAt, t.node]).sort();
  const containersAlive = (tasks: readonly TaskRow[]): boolean =>
    tasks.every((t) => existsSync(`/proc/${t.pid}`));

  it('a host that loses its power: its tasks run elsewhere, the others go on answering', async () => {
    const before = await settled(['n1', 'n2', 'n3']);
    cardOfN3 = await cardOn('n3');
    await cluster.hatoba('dev', 'kill', 'n3');
    await eventually(() => assert.deepEqual(containersOn('n3'), []));
    assert.ok(before.some((t) => t.node === 'n3'));
    await settled(['n1', 'n2']);
    assert.equal(await nodeState('n3'), 'down');
    // a task of the API counts as running a little before it listens
    await eventually(async () => {
      for (let i = 0; i < 20; i++) {
        for (const address of [ADDRESS.n1, ADDRESS.n2]) {
          const answer = await fetchText(`http://${address}:8080/`);
          assert.match(answer, /^web version 1.*\napi version 1/);
        }
      }
    });
  });

  it('a host that comes back: ready, and nothing runs twice', async () => {
    await cluster.hatoba('dev', 'start', 'n3');
    assert.equal(await cardOn('n3'), cardOfN3, 'the others know where to send to');
    await eventually(async () => assert.equal(await nodeState('n3'), 'ready'));
    await settled(['n1', 'n2', 'n3']);
    await eventually(() => assert.deepEqual(containersOn('n3'), []));
    await cluster.loadImages();
    await cluster.hatoba('service', 'scale', 'hello_web=9');
    const web = await cluster.runningTasks('hello_web');
    assert.deepEqual(countBy(web, (t) => t.node)['n3'], 3, 'new tasks go to the empty host');
    await eventually(() => fetchText(`http://${ADDRESS.n3}:8080/`));
    await cluster.hatoba('service', 'scale', 'hello_web=6');
  });

  it('an agent that stops: its containers serve on, and are the same when it is back', async () => {
    const before = await settled(['n1', 'n2', 'n3']);
    const onN2 = before.filter((t) => t.node === 'n2');
    assert.ok(onN2.length > 0);
    await cluster.hatoba('dev', 'stop-agent', 'n2');
    await eventually(async () => assert.equal(await nodeState('n2'), 'disconnected'));
    await pause(cluster, 5000); // longer than a lost host would be given
    assert.equal(await nodeState('n2'), 'disconnected');
    assert.ok(containersAlive(onN2));
    assert.equal(await fetchText(`http://${ADDRESS.n2}:8080/healthz`), 'ok\n');
    await cluster.hatoba('dev', 'start-agent', 'n2');
    const after = await settled(['n1', 'n2', 'n3']);
    assert.deepEqual(lives(after), lives(before));
  });

  it('an agent killed with SIGKILL finds its containers again and restarts none', async () => {
    const before = await settled(['n1', 'n2', 'n3']);
    process.kill(cluster.pidOf('n2', 'agent'), 'SIGKILL');
    await eventually(async () => assert.equal(await nodeState('n2'), 'disconnected'));
    await cluster.hatoba('dev', 'start-agent', 'n2');
    const after = await settled(['n1', 'n2', 'n3']);
    assert.deepEqual(lives(after), lives(before));
    assert.ok(containersAlive(before));
  });

  it('manager and etcd killed with SIGKILL: nothing lost, nothing restarted', async () => {
    const before = await settled(['n1', 'n2', 'n3']);
    const etcd = Number(readFileSync('/var/lib/hatoba/dev/n1/manager/etcd.pid', 'utf8'));
    process.kill(cluster.pidOf('n1', 'manager'), 'SIGKILL');
    process.kill(etcd, 'SIGKILL');
    assert.match(
      await fetchText(`http://${ADDRESS.n2}:8080/`),
      /^web version 1/,
      'serves on without managers',
    );
    await cluster.hatoba('dev', 'start-agent', 'n1');
    const after = await settled(['n1', 'n2', 'n3']);
    assert.deepEqual(lives(after), lives(before));
    for (const node of ['n1', 'n2', 'n3']) {
      await eventually(async () => assert.equal(await nodeState(node), 'ready'));
    }
    assert.deepEqual(lives(await settled(['n1', 'n2', 'n3'])), lives(before));
  });

  it('etcd killed alone is started again by its manager', async () => {
    const etcd = Number(readFileSync('/var/lib/hatoba/dev/n1/manager/etcd.pid', 'utf8'));
    process.kill(etcd, 'SIGKILL');
    await eventually(() => cluster.hatoba('service', 'scale', 'hello_api=4'), { everyMs: 300 });
    await eventually(() => cluster.hatoba('service', 'scale', 'hello_api=3'));
  });

  it('a partitioned host keeps its containers, is shown as down, and heals exactly', async () => {
    const before = await settled(['n1', 'n2', 'n3']);
    await cluster.hatoba('service', 'scale', 'hello_web=9');
    const onN3 = (await cluster.runningTasks('hello_web')).filter((t) => t.node === 'n3');
    assert.ok(onN3.length > 0, 'n3 has tasks');
    await cluster.hatoba('dev', 'partition', 'n3');
    await eventually(async () => assert.equal(await nodeState('n3'), 'down'));
    assert.ok(containersAlive(onN3));
    await cluster.hatoba('service', 'scale', 'hello_web=6');
    await settled(['n1', 'n2']);
    assert.ok(containersAlive(onN3), 'nobody can tell them to stop');
    await cluster.hatoba('dev', 'heal', 'n3');
    await eventually(async () => assert.equal(await nodeState('n3'), 'ready'));
    const after = await settled(['n1', 'n2', 'n3']);
    await eventually(() => {
      const wanted = after.filter((t) => t.node === 'n3').map((t) => t.pid);
      assert.deepEqual(containersOn('n3').sort(), wanted.sort());
    }); // prettier-ignore
    assert.ok(before.length > 0);
  });
});

/** The address of a host's network card. */
async function cardOn(host: HostName): Promise<string> {
  const text = await run('ip', [
    '-netns',
    placesOf({ name: host }).netns,
    '-json',
    'link',
    'show',
    'eth0',
  ]);
  return (JSON.parse(text) as { address: string }[])[0]?.address ?? '';
}

/** Lets the cluster be for a while, looking at it as a user would. */
async function pause(cluster: DevCluster, ms: number): Promise<void> {
  const endMs = Date.now() + ms;
  while (Date.now() < endMs) await cluster.nodes();
}
