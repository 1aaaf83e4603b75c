import assert from 'node:assert/strict';
import type { NetworkRow } from '../../cli/output/network-rows.js';
import { eventually } from '../support/eventually.js';
import { untilNetworksShown } from '../support/network-checker/network-checker.js';
import { ADDRESS, CLI, DevCluster, fetchText, requiresDevCluster, type Result } from './cluster.js';

interface Inspected {
  Id: string;
  IPAM: { Config: { Subnet: string; Gateway: string; Used: number; Free: number }[] };
  Containers: Record<string, { Name: string; Host: string; State: string }>;
  Services: Record<string, { Tasks: { Host: string }[] }>;
  Nodes: { Host: string; AppliedRevision?: number }[];
}

describe('networks from the command line', function () {
  let cluster: DevCluster;
  let opened: DevCluster | undefined;

  before(async function () {
    requiresDevCluster(this);
    opened = cluster = await DevCluster.up(2);
    await cluster.loadImages();
  });
  after(async () => {
    await opened?.down();
  });

  /** `hatoba ARGS` on n2, a worker. */
  const onN2 = (...args: string[]): Promise<Result> =>
    cluster.run('dev', 'exec', 'n2', '--', process.execPath, CLI, ...args);
  async function inspect(name: string): Promise<Inspected> {
    const [found] = await cluster.json<Inspected[]>('network', 'inspect', name);
    return found ?? assert.fail(`no network ${name}`);
  }

  it('are made, listed, shown and removed, by name, id and the start of an id', async () => {
    const flags = [
      '--subnet',
      '10.98.0.0/24',
      '--subnet',
      '10.99.0.0/24',
      '--gateway',
      '10.99.0.7',
    ];
    const id = (await cluster.hatoba('network', 'create', ...flags, 'two')).trim();
    const listed = await cluster.json<NetworkRow[]>('network', 'ls', '--filter', 'driver=overlay');
    assert.deepEqual(listed.map(({ name }) => name), ['ingress', 'two']); // prettier-ignore
    const all = await cluster.json<NetworkRow[]>('network', 'ls', '--filter', 'scope=node');
    assert.deepEqual(all.map(({ name }) => name), ['bridge', 'host', 'none']); // prettier-ignore
    const shown = await inspect(id.slice(0, 8));
    assert.equal(shown.Id, id);
    assert.deepEqual(
      shown.IPAM.Config.map(({ Subnet, Gateway, Used, Free }) => [Subnet, Gateway, Used, Free]),
      [
        ['10.98.0.0/24', '10.98.0.1', 0, 253],
        ['10.99.0.0/24', '10.99.0.7', 0, 253],
      ],
    );
    assert.match((await cluster.run('network', 'create', 'two')).stderr, /two exists already/);
    const { code, stdout, stderr } = await cluster.run('network', 'rm', 'nowhere', id.slice(0, 8));
    assert.equal(code, 4);
    assert.equal(stdout.trim(), id.slice(0, 8));
    assert.match(stderr, /no network has the name or id "nowhere"/);
    await cluster.hatoba('network', 'create', 'two'); // its name is free again
    await cluster.hatoba('network', 'prune', '--force');
    assert.equal((await cluster.run('network', 'inspect', 'two')).code, 4);
    assert.equal((await cluster.run('network', 'create', '--gateway', '10.1.0.1', 'x')).code, 1);
  });

  it('join single containers of all nodes, with aliases, and published ports', async () => {
    await cluster.hatoba('network', 'create', '--attachable', 'front');
    await cluster.hatoba('network', 'create', 'closed');
    const run = ['run', '-d', '--name', 'api', '--network-alias', 'www', '-p', '8091:80'];
    const made = await onN2(...run, '--network', 'front', 'hello-api:1');
    assert.equal(made.code, 0, made.stderr);
    const ask = ['run', '--rm', '--network', 'front', 'hello-api:1', 'wget', '-qO-'];
    for (const name of ['api', 'www']) {
      await eventually(async () => {
        assert.match(await cluster.hatoba(...ask, `http://${name}/`), /^api version 1/);
      });
    }
    await eventually(async () => {
      assert.match(await fetchText(`http://${ADDRESS.n2}:8091/`), /^api version 1/);
    });
    // the managers hear a little later that those of n1 have ended
    await eventually(async () => {
      const { Containers, Nodes } = await inspect('front');
      const users = Object.values(Containers).map(({ Name, Host, State }) => [Name, Host, State]);
      assert.deepEqual(users, [['api', 'n2', 'active']]);
      assert.deepEqual(Nodes.map(({ Host }) => Host), ['n2']); // prettier-ignore
      assert.ok((Nodes[0]?.AppliedRevision ?? 0) > 0);
    });
    const refused = await cluster.run('network', 'rm', 'front');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /network front is in use by container api/);
    const closed = await cluster.run('run', '--rm', '--network', 'closed', 'hello-api:1', 'true');
    assert.equal(closed.code, 125);
    assert.match(closed.stderr, /--attachable/);
    assert.equal((await onN2('rm', '-f', 'api')).code, 0);
    await cluster.hatoba('network', 'rm', 'front', 'closed');
  });

  it('are those of a compose file', async () => {
    const file = await cluster.compose(
      'nets.yaml',
      `
services:
  own:
    image: hello-api:1
    network_mode: host
  api:
    image: hello-api:1
    networks: {front: {aliases: [www]}}
    ports: [{target: "80", published: "8092"}]
    deploy: {replicas: 2, drain: 1s, session_affinity: client_ip}
networks:
  front: {attachable: true, ipam: {config: [{subnet: 10.97.0.0/24}]}}
`,
    );
    await cluster.hatoba('deploy', '-f', file, 'nets');
    const { Services } = await inspect('nets_front');
    assert.equal(Services['nets_api']?.Tasks.length, 2);
    const [own] = await cluster.runningTasks('nets_own');
    assert.deepEqual(own?.addresses, [{ network: 'host', ip: '' }]);
    const host = own.node === 'n1' ? ADDRESS.n1 : ADDRESS.n2;
    await eventually(async () => {
      assert.match(await fetchText(`http://${host}:80/`), /^api version 1/);
    });
    await untilNetworksShown();
    const answers = new Set<string>();
    for (let i = 0; i < 6; i++) answers.add(await fetchText(`http://${ADDRESS.n1}:8092/`));
    assert.equal(answers.size, 1, 'one client is led to one task');
    const wide = await cluster.hatoba('service', 'ps', 'nets_api', '-o', 'wide');
    assert.match(wide, /nets_front=10\.97\.0\.\d+/);
    await cluster.hatoba('stack', 'rm', 'nets');
    assert.equal((await cluster.run('network', 'inspect', 'nets_front')).code, 4);
  });
});
