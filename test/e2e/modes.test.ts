import assert from 'node:assert/strict';
import type { TaskRow } from '../../cli/output/rows.js';
import { NodeAvailability } from '../../proto/gen/hatoba/v1/types.js';
import { eventually } from '../support/eventually.js';
import { DevCluster, requiresDevCluster, type Result } from './cluster.js';
import { setAvailability } from './rolling.js';

const AGENT = `services:
  agent:
    image: hello-api:1
    hostname: "{{.Service.Name}}-on-{{.Node.Hostname}}"
    environment: ["WHERE={{.Node.Hostname}} {{.Node.Platform.OS}}", "VERSION=\${VERSION:-1}"]
    volumes: ["data:/data"]
    deploy:
      mode: global
      update_config: {parallelism: 2, order: start-first, monitor: 100ms}
      restart_policy: {delay: 100ms}
volumes: {data: {name: "data-{{.Node.Hostname}}"}}
`;

const job = (mode: string, command: string): string => `services:
  work:
    image: hello-api:1
    entrypoint: [sh, -c, ${JSON.stringify(command)}]
    deploy: {mode: ${mode}}
`;

describe('modes of services', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await cluster.loadImages();
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  const deploy = async (stack: string, text: string, ...more: string[]): Promise<Result> => {
    const file = await cluster.compose(`${stack}.yaml`, text);
    return cluster.run('deploy', '-f', file, stack, ...more);
  };
  /** Waits until the global service runs on these hosts, and says so. */
  const runsOn = (...hosts: string[]): Promise<TaskRow[]> =>
    eventually(async () => {
      const tasks = await cluster.runningTasks('sys_agent');
      const { replicas } = await cluster.service('sys_agent');
      assert.deepEqual(tasks.map((t) => t.node).sort(), hosts);
      assert.equal(replicas.running, replicas.desired);
      return tasks;
    });
  const nodeIs = (name: string, state: string): Promise<void> =>
    eventually(async () => {
      const node = (await cluster.nodes()).find((n) => n.hostname === name);
      assert.equal(node?.state, state);
    });
  const idsOf = (tasks: readonly TaskRow[]): string[] => tasks.map((t) => t.id).sort();

  it('a global service runs on each node, made of what its node is', async () => {
    const { code, stderr } = await deploy('sys', AGENT);
    assert.equal(code, 0, stderr);
    for (const { id, name, node, nodeId } of await runsOn('n1', 'n2', 'n3')) {
      assert.equal(name, `sys_agent.${nodeId}`);
      const said = await cluster.exec(id, 'sh', '-c', 'hostname; echo $WHERE; touch /data/here');
      assert.equal(said, `sys_agent-on-${node}\n${node} linux\n`);
    }
    assert.match(await cluster.hatoba('task', 'inspect', 'sys_agent.n2'), /"node": "n2"/);
  });

  it('a node that is lost keeps its task, which goes on when the node is back', async () => {
    const before = await runsOn('n1', 'n2', 'n3');
    await cluster.hatoba('dev', 'partition', 'n3');
    await nodeIs('n3', 'down');
    const { replicas } = await cluster.service('sys_agent');
    assert.deepEqual(replicas, { running: 2, desired: 2 });
    assert.deepEqual(idsOf(await cluster.tasks('sys_agent')), idsOf(before));
    await cluster.hatoba('dev', 'heal', 'n3');
    await nodeIs('n3', 'ready');
    const after = await runsOn('n1', 'n2', 'n3');
    assert.deepEqual(
      after.map((t) => [t.id, t.pid]).sort(),
      before.map((t) => [t.id, t.pid]).sort(),
    );
  });

  it('a node that is drained has none, and has one again when it is active', async () => {
    const before = await runsOn('n1', 'n2', 'n3');
    await setAvailability('n2', NodeAvailability.DRAIN);
    await runsOn('n1', 'n3');
    await setAvailability('n2', NodeAvailability.ACTIVE);
    const after = await runsOn('n1', 'n2', 'n3');
    const same = idsOf(before).filter((id) => idsOf(after).includes(id));
    assert.equal(same.length, 2);
  });

  it('a global service is updated on all nodes', async () => {
    const before = idsOf(await runsOn('n1', 'n2', 'n3'));
    const { code, stderr } = await deploy('sys', AGENT.replace('${VERSION:-1}', '2'));
    assert.equal(code, 0, stderr);
    const after = await runsOn('n1', 'n2', 'n3');
    assert.deepEqual(
      idsOf(after).filter((id) => before.includes(id)),
      [],
    );
    const [task] = after;
    const said = await cluster.exec(task?.id ?? '', 'sh', '-c', 'echo $VERSION; ls /data');
    assert.equal(said, '2\nhere\n');
  });

  it('a job runs until it has completed often enough, and again when it changes', async () => {
    const text = job('replicated-job, replicas: 3, max_concurrent: 2', 'sleep 0.2');
    const first = await deploy('batch', text);
    assert.equal(first.code, 0, first.stderr);
    const { completions } = await cluster.service('batch_work');
    assert.deepEqual(completions, { completed: 3, total: 3 });
    assert.match(await cluster.hatoba('service', 'ls'), /batch_work .* 0\/2 \(3\/3 completed\)/);
    const before = idsOf(await cluster.tasks('batch_work'));
    const again = await deploy('batch', text.replace('0.2', '0.1'));
    assert.equal(again.code, 0, again.stderr);
    const after = (await cluster.tasks('batch_work')).filter((t) => t.state === 'complete');
    const fresh = after.filter((t) => !before.includes(t.id));
    assert.deepEqual(fresh.map((t) => t.slot).sort(), [1, 2, 3]);
  });

  it('a job that fails ends the wait for it, with the reason', async () => {
    const mode = 'replicated-job, restart_policy: {delay: 100ms, max_attempts: 1}';
    const { code, stderr } = await deploy('bad', job(mode, 'exit 7'));
    assert.equal(code, 3);
    assert.match(stderr, /service bad_work did not converge \(0\/1 completed, 0 running\)/);
    assert.match(stderr, /bad_work\.1: .*\(7\).*its restart policy starts no other/);
    assert.equal((await cluster.tasks('bad_work')).length, 2);
  });

  it('a global job runs once on each node', async () => {
    const { code, stderr } = await deploy('once', job('global-job', 'exit 0'));
    assert.equal(code, 0, stderr);
    const tasks = await cluster.tasks('once_work');
    assert.deepEqual(tasks.map((t) => [t.node, t.state]).sort(), [
      ['n1', 'complete'],
      ['n2', 'complete'],
      ['n3', 'complete'],
    ]);
  });
});
