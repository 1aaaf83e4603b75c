import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { DevCluster, requiresDevCluster, HELLO } from './cluster.js';

describe('what cannot work says so', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await cluster.loadImages();
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  it('every mistake of a compose file, with file, line and column', async () => {
    const file = await cluster.compose(
      'bad.yaml',
      ['services:', '  web:', '    imagee: x', '    deploy: {replicas: six}'].join('\n'),
    );
    const { code, stderr } = await cluster.run('deploy', '-f', file, 'bad');
    assert.equal(code, 1);
    const lines = stderr.trim().split('\n').sort();
    assert.deepEqual(lines, [
      `${file}:2:3: services.web: needs "image"`,
      `${file}:3:5: services.web.imagee: unknown key "imagee"; did you mean "image"?`,
      `${file}:4:24: services.web.deploy.replicas: must be a whole number, not "six"`,
    ]);
    assert.equal((await cluster.run('deploy', '-f', `${file}.not`, 'bad')).code, 4);
  });

  it('an unknown image: rejected tasks name the image and what the registry answered', async () => {
    const file = await cluster.compose(
      'img.yaml',
      'services: {a: {image: "127.0.0.1:5999/no/such:1"}}',
    );
    const { code, stderr } = await cluster.run('deploy', '-f', file, 'img');
    assert.equal(code, 3, stderr);
    assert.match(stderr, /127\.0\.0\.1:5999\/no\/such:1/);
    const tasks = await cluster.tasks('img_a');
    const rejected = tasks.filter((t) => t.state === 'rejected');
    assert.ok(rejected.length > 0);
    assert.match(rejected[0]?.error ?? '', /127\.0\.0\.1:5999\/no\/such:1.*ECONNREFUSED/);
    await cluster.hatoba('stack', 'rm', 'img');
  });

  it('an impossible constraint or reservation: pending, with the nodes counted by reason', async () => {
    const file = await cluster.compose(
      'pending.yaml',
      [
        'services:',
        '  zone: {image: "hello-api:1", deploy: {placement: {constraints: [node.labels.zone==moon]}}}',
        '  big: {image: "hello-api:1", deploy: {resources: {reservations: {cpus: "512"}}}}',
      ].join('\n'),
    );
    const { code, stderr } = await cluster.run('deploy', '-f', file, 'pend');
    assert.equal(code, 3);
    assert.match(stderr, /node\.labels\.zone==moon/);
    const [zone] = await cluster.tasks('pend_zone');
    assert.equal(zone?.state, 'pending');
    assert.match(zone.message, /no suitable node.*3 of 3.*node\.labels\.zone==moon/);
    const [big] = await cluster.tasks('pend_big');
    assert.match(big?.message ?? '', /no suitable node.*3 of 3.*512 CPUs/);
    await cluster.hatoba('stack', 'rm', 'pend');
  });

  it('networks that overlap or are too small, and ports of the hosts: refused, with the numbers', async () => {
    const overlap = await cluster.run('network', 'create', '--subnet', '10.77.0.0/25', 'x');
    assert.equal(overlap.code, 1);
    assert.match(
      overlap.stderr,
      /10\.77\.0\.0\/25 overlaps 10\.77\.0\.0\/24 of a route of node n\d/,
    );
    const file = await cluster.compose(
      'full.yaml',
      [
        'services:',
        '  web: {image: "hello-api:1", ports: ["4402:80"]}',
        '  many: {image: "hello-api:1", networks: [small], deploy: {replicas: 8}}',
        'networks: {small: {ipam: {config: [{subnet: 10.55.0.0/29}]}}}',
      ].join('\n'),
    );
    const port = await cluster.run('deploy', '-f', file, 'full');
    assert.equal(port.code, 1);
    assert.match(port.stderr, /port 4402\/tcp is taken on node n\d by the agent of this node/);
    const free = await cluster.compose(
      'room.yaml',
      (await readFile(file, 'utf8')).replace('4402', '4999'),
    );
    const room = await cluster.run('deploy', '-f', free, 'full');
    assert.equal(room.code, 1);
    assert.match(
      room.stderr,
      /network full_small \(10\.55\.0\.0\/29\): 6 addresses, 1 used, 5 free; service full_many needs 9: 8 tasks and a virtual address/,
    );
    assert.doesNotMatch(await cluster.hatoba('network', 'ls'), /full_/);
  });

  it('a service on the network of its host, or on none: it runs, and can publish nothing', async () => {
    const yaml = (more: string): string =>
      [
        'services:',
        `  own: {image: "hello-api:1", network_mode: host${more}}`,
        '  alone: {image: "hello-api:1", network_mode: none}',
      ].join('\n');
    await cluster.hatoba('deploy', '-f', await cluster.compose('modes.yaml', yaml('')), 'modes');
    for (const name of ['modes_own', 'modes_alone']) {
      assert.deepEqual((await cluster.tasks(name)).map((t) => t.state), ['running']); // prettier-ignore
    }
    const wrong = await cluster.compose('wrong.yaml', yaml(', ports: ["4998:80"]'));
    const { code, stderr } = await cluster.run('deploy', '-f', wrong, 'modes');
    assert.equal(code, 1, stderr);
    await cluster.hatoba('stack', 'rm', 'modes');
  });

  it('a port that is published already: refused, naming the holder', async () => {
    await cluster.hatoba('deploy', '-f', HELLO, 'hello');
    const file = await cluster.compose(
      'port.yaml',
      'services: {p: {image: "hello-api:1", ports: ["8080:80"]}}',
    );
    const { code, stderr } = await cluster.run('deploy', '-f', file, 'port');
    assert.equal(code, 1);
    assert.equal(
      stderr.trim(),
      `${file}:1:45: services.p.ports: port 8080/tcp is already published by service hello_web`,
    );
    assert.deepEqual(await cluster.json('stack', 'ls', '--filter', 'name=port'), []);
  });

  it('wrong names, flags and usage have their exit codes', async () => {
    assert.equal((await cluster.run('service', 'ps', 'nobody')).code, 4);
    assert.equal((await cluster.run('task', 'inspect', 'nobody')).code, 4);
    assert.equal((await cluster.run('stack', 'services', 'nobody')).code, 4);
    assert.equal((await cluster.run('service', 'lss')).code, 2);
    assert.equal((await cluster.run('service', 'scale', 'hello_web=many')).code, 2);
    assert.equal((await cluster.run('dev', 'kill', 'n9')).code, 4);
    const { code, stderr } = await cluster.run('service', 'ls', '-o', 'xml');
    assert.equal(code, 2);
    assert.match(stderr, /table, json, yaml, wide/);
  });
});
