import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import type { TaskRow } from '../../cli/output/rows.js';
import { eventually } from '../support/eventually.js';
import { untilNetworksShown } from '../support/network-checker/network-checker.js';
import {
  ADDRESS,
  CLI,
  countBy,
  DevCluster,
  fetchText,
  requiresDevCluster,
  run,
  HELLO,
} from './cluster.js';

describe('from a compose file to containers on three hosts', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await cluster.loadImages();
    await cluster.hatoba('deploy', '-f', HELLO, 'hello');
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  it('starts three ready nodes, one of them the leading manager', async () => {
    const nodes = await cluster.nodes();
    assert.deepEqual(
      nodes.map((n) => [n.hostname, n.address, n.role, n.state, n.availability, n.leader]),
      [
        ['n1', ADDRESS.n1, 'manager', 'ready', 'active', true],
        ['n2', ADDRESS.n2, 'worker', 'ready', 'active', false],
        ['n3', ADDRESS.n3, 'worker', 'ready', 'active', false],
      ],
    );
  });

  it('spreads six replicas evenly', async () => {
    const tasks = await cluster.runningTasks('hello_web');
    assert.deepEqual(
      countBy(tasks, (t) => t.node),
      { n1: 2, n2: 2, n3: 2 },
    );
    assert.deepEqual(
      countBy(await cluster.runningTasks('hello_api'), (t) => t.node),
      {
        n1: 1,
        n2: 1,
        n3: 1,
      },
    );
  });

  it('ends quietly when nobody reads on', async () => {
    const cli = [process.execPath, CLI, 'task', 'ls', '-o', 'yaml'].join(' ');
    const env = `HATOBA_CONFIG=${cluster.folder}`;
    const text = await run('/bin/bash', ['-c', `${env} ${cli} | true; echo \${PIPESTATUS[0]}`]);
    assert.equal(text.trim(), '0');
  });

  it('gives each container its own pid, net, mount, uts and ipc namespaces', async () => {
    const tasks = await cluster.runningTasks('hello_web');
    for (const kind of ['pid', 'net', 'mnt', 'uts', 'ipc']) {
      const own = readlinkSync(`/proc/self/ns/${kind}`);
      const spaces = tasks.map((t) => readlinkSync(`/proc/${t.pid}/ns/${kind}`));
      assert.equal(new Set([...spaces, own]).size, tasks.length + 1, kind);
    }
  });

  it('shares the lower layers of two replicas on a host, which write apart', async () => {
    const [a, b] = (await cluster.runningTasks('hello_web')).filter((t) => t.node === 'n2');
    assert.ok(a !== undefined && b !== undefined);
    await cluster.exec(a.id, 'sh', '-c', 'echo only-a > /written; echo x >> /etc/passwd');
    assert.equal(
      await cluster
        .exec(b.id, 'sh', '-c', 'ls /written 2>/dev/null; tail -n 1 /etc/passwd')
        .then((s) => s.trim()),
      'www:x:33:33:www:/var/www:/bin/false',
    );
    assert.equal((await cluster.exec(a.id, 'cat', '/written')).trim(), 'only-a');
    const layers = '/var/lib/hatoba/dev/n2/agent/engine/layers';
    const busyboxes = filesNamed(layers, 'busybox');
    assert.equal(
      busyboxes.length,
      1,
      `one copy on disk for all containers: ${busyboxes.join(' ')}`,
    );
    const inodes = [a, b].map((t) => statSync(`/proc/${t.pid}/root/bin/busybox`).ino);
    assert.equal(inodes[0], inodes[1]);
  });

  it('resolves a service to one address, answered by replicas on all hosts', async () => {
    const web = await taskOn(cluster, 'hello_web', 'n1');
    const answer = await cluster.exec(web.id, 'nslookup', 'api');
    const addresses = addressesIn(answer);
    assert.equal(addresses.length, 1, answer);
    const replies = await cluster.exec(
      web.id, 'sh', '-c', 'for i in $(seq 300); do wget -q -O - http://api/ || echo FAILED; done',
    ); // prettier-ignore
    const lines = replies.trim().split('\n');
    assert.equal(lines.length, 300);
    assert.deepEqual(
      lines.filter((line) => line.includes('FAILED')),
      [],
    );
    const apis = await cluster.runningTasks('hello_api');
    const replicas = countBy(lines, (line) => /replica (\w+)/.exec(line)?.[1] ?? line);
    assert.equal(Object.keys(replicas).length, apis.length, JSON.stringify(replicas));
  });

  it('lists every task behind tasks.NAME, on names of the network alone', async () => {
    const web = await taskOn(cluster, 'hello_web', 'n1');
    const answer = addressesIn(await cluster.exec(web.id, 'nslookup', 'tasks.api'));
    const expected = (await cluster.runningTasks('hello_api')).flatMap((t) =>
      addressOn(t, 'hello_back'),
    );
    assert.deepEqual(answer.sort(), expected.sort());
    await assert.rejects(cluster.exec(web.id, 'nslookup', 'no-such-service'));
  });

  it('answers on the published port of every host, also of one without a replica', async () => {
    const file = await cluster.compose(
      'one.yaml',
      'services: {one: {image: "hello-api:1", ports: ["8090:80"]}}',
    );
    await cluster.hatoba('deploy', '-f', file, 'solo');
    const [only] = await cluster.runningTasks('solo_one');
    assert.ok(only !== undefined);
    await untilNetworksShown();
    for (const [host, address] of Object.entries(ADDRESS)) {
      await eventually(async () => {
        assert.match(await fetchText(`http://${address}:8090/`), /^api version 1/, host);
        const answer = await fetchText(`http://${address}:8080/`);
        assert.match(answer, /^web version 1.*\napi version 1/, host);
      });
    }
    await cluster.hatoba('stack', 'rm', 'solo');
  });

  it('scales to thirty and to three without touching a task that stays', async () => {
    const before = await cluster.runningTasks('hello_web');
    await cluster.hatoba('service', 'scale', 'hello_web=30');
    const many = await cluster.runningTasks('hello_web');
    assert.deepEqual(
      countBy(many, (t) => t.node),
      { n1: 10, n2: 10, n3: 10 },
    );
    for (const task of before) assert.deepEqual(lifeOf(many, task.id), lifeOf(before, task.id));
    await cluster.hatoba('service', 'scale', 'hello_web=3');
    const few = await cluster.runningTasks('hello_web');
    assert.equal(few.length, 3);
    for (const task of few) assert.deepEqual(lifeOf(few, task.id), lifeOf(many, task.id));
    await cluster.hatoba('service', 'scale', 'hello_web=6');
  });

  it('rolls to version 2 with never fewer than six healthy', async () => {
    const counts: number[] = [];
    const watch = { over: false };
    const watching = (async () => {
      while (!watch.over) counts.push((await cluster.service('hello_web')).replicas.running);
    })();
    await cluster.hatoba('service', 'update', 'hello_web', '--image', 'hello-web:2');
    watch.over = true;
    await watching;
    assert.ok(counts.length > 0 && Math.min(...counts) >= 6, counts.join(' '));
    const tasks = await cluster.runningTasks('hello_web');
    assert.deepEqual(
      countBy(tasks, (t) => t.image),
      { 'hello-web:2': 6 },
    );
    assert.equal((await cluster.service('hello_web')).updateStatus.state, 'completed');
    for (let i = 0; i < 30; i++) {
      assert.match(await fetchText(`http://${ADDRESS.n3}:8080/`), /^web version 2/);
    }
  });

  it('pauses an update to a broken image, says why, and goes on serving', async () => {
    const result = await cluster.run(
      'service',
      'update',
      'hello_web',
      '--image',
      '10.77.0.1:5999/none:1',
    );
    assert.equal(result.code, 3, result.stderr);
    const { updateStatus, replicas } = await cluster.service('hello_web');
    assert.equal(updateStatus.state, 'paused');
    assert.match(updateStatus.message, /10\.77\.0\.1:5999\/none:1/);
    assert.equal(replicas.running, 6);
    assert.match(await fetchText(`http://${ADDRESS.n1}:8080/`), /^web version 2/);
    await cluster.hatoba('service', 'rollback', 'hello_web');
    await eventually(async () => {
      const tasks = await cluster.runningTasks('hello_web');
      assert.deepEqual(
        countBy(tasks, (t) => t.image),
        { 'hello-web:2': 6 },
      );
    });
  });

  it('shows the logs of all tasks of a service', async () => {
    const file = await cluster.compose(
      'log.yaml',
      'services: {log: {image: "hello-api:1", command: sh -c "echo out of $$(hostname); echo bad >&2; sleep 1000", stop_signal: SIGKILL, deploy: {replicas: 3}}}',
    );
    await cluster.hatoba('deploy', '-f', file, 'logs');
    // a task runs a little before it writes
    await eventually(async () => {
      const lines = (await cluster.hatoba('service', 'logs', 'logs_log')).trim().split('\n');
      assert.equal(lines.filter((l) => l.includes('| out of ')).length, 3, lines.join('\n'));
    });
    await cluster.hatoba('stack', 'rm', 'logs');
  });

  it('reaches the outside of the cluster through the host', async () => {
    const web = await taskOn(cluster, 'hello_web', 'n2');
    assert.match(
      await cluster.exec(web.id, 'ping', '-c', '1', '-W', '2', '10.77.0.254'),
      /1 packets received/,
    );
  });

  it('removes a stack with all it had', async () => {
    await cluster.hatoba('stack', 'rm', 'hello');
    assert.deepEqual(await cluster.json('task', 'ls', '--all'), []);
    await eventually(async () => {
      const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
      assert.doesNotMatch(mounts, /\/var\/lib\/hatoba\/dev\/n\d\/.*overlay/);
      await assert.rejects(fetchText(`http://${ADDRESS.n1}:8080/`));
    });
    assert.doesNotMatch(await run('ip', ['-netns', 'hatoba-n1', '-json', 'link']), /"hello/);
  });
});

async function taskOn(cluster: DevCluster, service: string, node: string): Promise<TaskRow> {
  const task = (await cluster.runningTasks(service)).find((t) => t.node === node);
  assert.ok(task !== undefined, `${service} has a task on ${node}`);
  return task;
}

/** What must not change while a task goes on running. */
function lifeOf(tasks: readonly TaskRow[], id: string): unknown {
  const task = tasks.find((t) => t.id === id);
  return task === undefined ? 'gone' : [task.pid, task.startedAt, task.node, task.addresses];
}

function addressOn(task: TaskRow, network: string): string[] {
  return task.addresses.filter((a) => a.network === network).map((a) => a.ip);
}

/** The addresses of busybox nslookup's answer, without the server's own. */
function addressesIn(answer: string): string[] {
  const [, ...rest] = answer.split(/^Name:/m);
  return rest.join('\n').match(/\d+\.\d+\.\d+\.\d+/g) ?? [];
}

function filesNamed(folder: string, name: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name === name)
    .map((entry) => entry.parentPath);
}
