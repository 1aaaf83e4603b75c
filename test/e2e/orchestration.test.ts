import assert from 'node:assert/strict';
import type { TaskRow } from '../../cli/output/rows.js';
import { unary } from '../../proto/wire/client.js';
import type { NodeSpec } from '../../proto/gen/hatoba/v1/types.js';
import { eventually } from '../support/eventually.js';
import { openControl } from '../support/network-checker/cluster-objects.js';
import { countBy, DevCluster, requiresDevCluster, type HostName, type Result } from './cluster.js';

const ZONES = { n1: 'a', n2: 'a', n3: 'b' } as const;

/** Of each service: its keys beside image and command, and those of `deploy:`. */
type Services = Record<string, { keys?: string; deploy?: string }>;

/** Sees what placement, updates and rebalancing come to, and how much of it is said to people. */
describe('what managers decide', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await cluster.loadImages();
  });
  beforeEach(async () => {
    for (const host of ['n1', 'n2', 'n3'] as const) {
      await changeNode(host, { labels: { zone: ZONES[host] }, taints: [] });
    }
  });
  afterEach(async () => {
    for (const { name } of await cluster.json<{ name: string }[]>('stack', 'ls')) {
      await cluster.hatoba('stack', 'rm', name);
    }
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  const deploy = async (stack: string, services: Services): Promise<Result> => {
    const file = await cluster.compose(`${stack}.yaml`, fileOf(services));
    return cluster.run('deploy', '-f', file, stack);
  };
  const deployed = async (stack: string, services: Services): Promise<void> => {
    const { code, stderr } = await deploy(stack, services);
    assert.equal(code, 0, stderr);
  };
  const nodesOf = async (service: string): Promise<string[]> =>
    (await cluster.runningTasks(service)).map((t) => t.node).sort();
  const idsOf = (tasks: readonly TaskRow[]): string[] => tasks.map((t) => t.id).sort();
  const updateIs = (service: string, state: string, message: RegExp): Promise<void> =>
    eventually(async () => {
      const { updateStatus } = await cluster.service(service);
      assert.equal(updateStatus.state, state);
      assert.match(updateStatus.message, message);
    });
  /** Of the last half hour, about the service and its tasks: "event message". */
  const eventsOf = async (service: string): Promise<string[]> => {
    const text = await cluster.hatoba(
      'system', 'events', '--since', '30m', '--until', '0s', '--filter', 'scope=cluster',
      '--filter', `service=${service}`, '--format', '{{.Action}} {{.message}}',
    ); // prettier-ignore
    return text.trimEnd().split('\n');
  };

  it('an update whose tasks are not healthy goes back by itself, with the reason', async () => {
    const config = 'update_config: {failure_action: rollback, order: start-first, monitor: 100ms}';
    const rollback = 'rollback_config: {parallelism: 0, monitor: 100ms}';
    const section = `replicas: 2, ${config}, ${rollback}`;
    const health = (command: string): string =>
      `healthcheck: {test: [CMD, ${command}], interval: 100ms, timeout: 10s, retries: 2}`;
    await deployed('back', { a: { keys: health('"true"'), deploy: section } });
    const before = idsOf(await cluster.runningTasks('back_a'));
    const { code, stderr } = await deploy('back', {
      a: { keys: health('"false"'), deploy: section },
    });
    assert.equal(code, 3, stderr);
    assert.match(stderr, /back_a did not converge/);
    assert.match(stderr, /unhealthy/);
    await updateIs('back_a', 'rollback_completed', /unhealthy/);
    assert.deepEqual(idsOf(await cluster.runningTasks('back_a')), before);
    assert.match(
      await cluster.hatoba('rollout', 'history', 'back_a'),
      /^3 \(present\) .* rolled back/m,
    );
    const events = await eventsOf('back_a');
    assert.ok(
      events.some((e) => /^RollbackCompleted .*unhealthy/.test(e)),
      events.join('\n'),
    );
  });

  it('an update that finds no place is paused at its deadline, and goes on when there is one', async () => {
    const section = (constraint: string): string =>
      `update_config: {order: start-first, monitor: 100ms, progress_deadline: 6s}, placement: {constraints: ["${constraint}"]}`;
    await deployed('late', { a: { deploy: section('node.labels.zone exists') } });
    const before = idsOf(await cluster.runningTasks('late_a'));
    const keys = 'environment: [NEW=1]';
    const moon = section('node.labels.zone in (moon)');
    const { code, stderr } = await deploy('late', { a: { keys, deploy: moon } });
    assert.equal(code, 3, stderr);
    assert.match(
      stderr,
      /did not come up in 6s: no suitable node: 3 of 3 nodes .*zone in \(moon\)/,
    );
    await updateIs('late_a', 'paused', /did not come up in 6s/);
    await cluster.hatoba('node', 'update', 'n3', '--label-add', 'zone=moon');
    await cluster.hatoba('rollout', 'resume', 'late_a');
    await updateIs('late_a', 'completed', /./);
    assert.deepEqual(await nodesOf('late_a'), ['n3']);
    assert.notDeepEqual(idsOf(await cluster.runningTasks('late_a')), before);
  });

  it('an update that can never start first says what it needs, and nothing is lost meanwhile', async () => {
    const tight = (n: number) => ({
      a: {
        keys: `environment: [V=${n}], ports: [{target: 80, published: 8093, mode: host}]`,
        deploy: 'replicas: 3, update_config: {order: start-first, monitor: 100ms}',
      },
    });
    await deployed('tight', tight(1));
    const before = idsOf(await cluster.runningTasks('tight_a'));
    const changed = await cluster.compose('changed.yaml', fileOf(tight(2)));
    await cluster.hatoba('deploy', '--detach', '-f', changed, 'tight');
    await updateIs(
      'tight_a',
      'updating',
      /start-first needs a second place for tight_a\.\d: .*8093/,
    );
    assert.deepEqual(idsOf(await cluster.runningTasks('tight_a')), before);
    await deployed('tight', tight(1)); // takes over, and has nothing to do
    assert.deepEqual(idsOf(await cluster.runningTasks('tight_a')), before);
  });

  it('tasks go where placement has them, and a taint makes way for those that tolerate it', async () => {
    const spread = 'placement: {spreads: [{key: node.labels.zone, required: true}]}';
    const apart = 'placement: {affinities: ["service!=apart"]}';
    const near =
      'placement: {affinities: ["service==lead"], constraints: ["node.hostname not in (n1)"]}';
    const patient =
      'placement: {constraints: [node.hostname==n3], tolerations: ["upkeep:no-execute"]}';
    await deployed('place', { lead: { deploy: 'placement: {constraints: [node.hostname==n2]}' } });
    await deployed('place', {
      lead: { deploy: 'placement: {constraints: [node.hostname==n2]}' },
      even: { deploy: `replicas: 4, ${spread}` },
      apart: { deploy: `replicas: 3, ${apart}` },
      near: { deploy: `replicas: 2, ${near}` },
      patient: { deploy: patient },
    });
    const zones = (await nodesOf('place_even')).map((n) => ZONES[n as HostName]);
    assert.deepEqual(
      countBy(zones, (z) => z),
      { a: 2, b: 2 },
    );
    assert.deepEqual(await nodesOf('place_apart'), ['n1', 'n2', 'n3']);
    assert.deepEqual(await nodesOf('place_near'), ['n2', 'n2']);
    await cluster.hatoba('node', 'update', 'n3', '--taint-add', 'upkeep:no-execute');
    await eventually(async () => {
      const [third] = (await cluster.tasks('place_apart')).filter((t) => t.state === 'pending');
      assert.match(third?.message ?? '', /no suitable node/);
      assert.match(third?.message ?? '', /1 of 3 has taints that it does not tolerate \(upkeep\)/);
      assert.match(await cluster.hatoba('service', 'ps', 'place_apart'), /n3 has the taint upkeep/);
    });
    assert.deepEqual(await nodesOf('place_patient'), ['n3']);
    await cluster.hatoba('node', 'update', 'n3', '--taint-rm', 'upkeep');
    await eventually(async () => {
      assert.deepEqual(await nodesOf('place_apart'), ['n1', 'n2', 'n3']);
    });
  });

  it('a service of high priority takes the room of another, which waits and says for what', async () => {
    const most = (await cpusOf('n1')) * 0.6;
    const wants = (priority: number): string =>
      `priority: ${priority}, resources: {reservations: {cpus: ${most}}}`;
    await deployed('low', { a: { deploy: `replicas: 3, ${wants(0)}` } });
    await deployed('high', { a: { deploy: wants(10) } });
    const [winner] = await cluster.runningTasks('high_a');
    await eventually(async () => {
      const tasks = await cluster.tasks('low_a');
      const [waits] = tasks.filter((t) => t.state === 'pending');
      assert.match(waits?.message ?? '', /no suitable node: 3 of 3 nodes .*CPU/);
      const left = tasks.find((t) => t.node === winner?.node && t.desiredState === 'shutdown');
      assert.match(left?.desiredReason ?? '', /gives way to high_a\.1.*priority 10/);
      assert.equal((await cluster.runningTasks('low_a')).length, 2);
    });
    assert.match(await cluster.hatoba('service', 'ps', 'low_a'), /no suitable node.*CPU/);
    const events = await eventsOf('low_a');
    assert.ok(
      events.some((e) => e.startsWith('Unplaceable no suitable node')),
      events.join('\n'),
    );
    assert.ok(
      events.some((e) => /^Stopping .*gives way/.test(e)),
      events.join('\n'),
    );
    await cluster.hatoba('stack', 'rm', 'high');
    await eventually(async () => {
      assert.equal((await cluster.runningTasks('low_a')).length, 3);
    });
  });

  it('a service goes back to any revision, and is restarted as a whole', async () => {
    const fast = 'update_config: {parallelism: 0, monitor: 100ms}';
    const section = `replicas: 2, ${fast}, ${fast.replace('update', 'rollback')}`;
    const version = (n: number) => ({ a: { keys: `environment: [V=${n}]`, deploy: section } });
    for (const n of [1, 2, 3]) await deployed('hist', version(n));
    const says = async (): Promise<string[]> => {
      const tasks = await cluster.runningTasks('hist_a');
      return Promise.all(tasks.map((t) => cluster.exec(t.id, 'sh', '-c', 'echo $V')));
    };
    assert.deepEqual(await says(), ['3\n', '3\n']);
    await cluster.hatoba('rollout', 'undo', 'hist_a', '--to-revision', '1');
    assert.deepEqual(await says(), ['1\n', '1\n']);
    const before = idsOf(await cluster.runningTasks('hist_a'));
    await cluster.hatoba('rollout', 'restart', 'hist_a');
    const after = await cluster.runningTasks('hist_a');
    assert.equal(after.length, 2);
    assert.deepEqual(
      idsOf(after).filter((id) => before.includes(id)),
      [],
    );
    const revisions = await cluster.json<{ revision: number }[]>('rollout', 'history', 'hist_a');
    assert.deepEqual(
      revisions.map((r) => r.revision),
      [5, 4, 3, 2, 1],
    );
  });

  it('a service that wishes it comes back to a host that comes back', async () => {
    const section =
      'replicas: 3, rebalance: true, update_config: {order: start-first, monitor: 100ms}';
    await deployed('even', { a: { deploy: section } });
    assert.deepEqual(await nodesOf('even_a'), ['n1', 'n2', 'n3']);
    await cluster.hatoba('dev', 'kill', 'n3');
    await eventually(async () => {
      const nodes = await nodesOf('even_a');
      assert.equal(nodes.length, 3);
      assert.ok(!nodes.includes('n3'), nodes.join());
    });
    await cluster.hatoba('dev', 'start', 'n3');
    await eventually(async () => {
      assert.deepEqual(await nodesOf('even_a'), ['n1', 'n2', 'n3']);
    });
    const moved = (await cluster.runningTasks('even_a')).find((t) => t.node === 'n3');
    assert.match(moved?.cause ?? '', /^rebalanced from n\d to n3$/);
    const nodes = await cluster.hatoba(
      'system', 'events', '--since', '30m', '--until', '0s', '--filter', 'node=n3',
      '--filter', 'type=node', '--format', '{{.Action}}',
    ); // prettier-ignore
    assert.match(nodes, /^Down$[^]*^Ready$/m);
  });

  async function cpusOf(host: HostName): Promise<number> {
    const { object } = await cluster.json<NodeObject>('node', 'inspect', host);
    return object.description.resources.nanoCpus / 1e9;
  }
});

/** The compose file of services that do nothing. */
function fileOf(services: Services): string {
  const image = 'image: "hello-api:1", command: [sleep, "1000"], stop_grace_period: 100ms';
  const lines = Object.entries(services).map(([name, { keys = '', deploy = '' }]) => {
    const more = keys === '' ? '' : `, ${keys}`;
    return `  ${name}: {${image}${more}, deploy: {${deploy}}}\n`;
  });
  return `services:\n${lines.join('')}`;
}

interface NodeObject {
  object: { description: { resources: { nanoCpus: number } } };
}

async function changeNode(host: HostName, change: Partial<NodeSpec>): Promise<void> {
  const control = openControl();
  try {
    const { id, spec } = await unary(control.getNode.bind(control), { node: host });
    if (spec === undefined) throw new Error(`node ${host} has no spec`);
    const version = 0; // any: the managers write what they hear of the host at any time
    const request = { node: id, version, spec: { ...spec, ...change } };
    await unary(control.updateNode.bind(control), request);
  } finally {
    control.close();
  }
}
