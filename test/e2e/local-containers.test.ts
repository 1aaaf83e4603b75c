import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from '../../proto/gen/hatoba/v1/engine.js';
import { EngineClient } from '../../proto/gen/hatoba/v1/engine.js';
import { localTarget, openClient, unary } from '../../proto/wire/client.js';
import { eventually } from '../support/eventually.js';
import { ADDRESS, CLI, DevCluster, fetchText, requiresDevCluster, type Result } from './cluster.js';

/** Containers that a user of n2 makes there, beside the tasks of the cluster. */
describe('containers of one node', function () {
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

  /** `hatoba ARGS` on n2. */
  const run = (...args: string[]): Promise<Result> =>
    cluster.run('dev', 'exec', 'n2', '--', process.execPath, CLI, ...args);
  async function hatoba(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, 0, `hatoba ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout.trim();
  }
  async function inspect(name: string): Promise<Container> {
    const engine = openClient(EngineClient, localTarget('/run/hatoba/dev/n2/agent.sock'));
    try {
      return await unary(engine.containerInspect.bind(engine), { container: name, size: false });
    } finally {
      engine.close();
    }
  }

  it('run on the node of their user, in its cgroups, and are seen there alone', async () => {
    await hatoba(
      'run',
      '-d',
      '--name',
      'web',
      '--restart',
      'always',
      '-p',
      '8090:80',
      'hello-web:1',
    );
    assert.match(await hatoba('ps'), /\bweb\b/);
    assert.doesNotMatch(await cluster.hatoba('ps'), /\bweb\b/, 'not on n1, whose the context is');
    const { cgroupPath, state } = await inspect('web');
    assert.match(cgroupPath, /^\/hatoba-dev\/n2\//);
    assert.ok(existsSync(join('/proc', String(state?.pid))));
    await eventually(async () => {
      assert.match(await fetchText(`http://${ADDRESS.n2}:8090/healthz`), /\S/);
    });
    const local = await cluster.run(
      'dev', 'exec', 'n2', '--', 'busybox', 'wget', '-q', '-O', '-', 'http://127.0.0.1:8090/healthz',
    ); // prettier-ignore
    assert.equal(local.code, 0, local.stderr);
    assert.notEqual(local.stdout, '');
  });

  it('come back with their network after a loss of power, if their rule says so', async () => {
    await hatoba('run', '-d', '--name', 'once', 'hello-api:1', 'sleep', '1000');
    await hatoba('create', '--name', 'never', 'hello-api:1', 'sleep', '1000');
    const before = await inspect('web');
    const answer = await fetchText(`http://${ADDRESS.n2}:8090/healthz`);
    await cluster.hatoba('dev', 'kill', 'n2');
    await cluster.hatoba('dev', 'start', 'n2');
    await eventually(async () => {
      const { state, networks, ports } = await inspect('web');
      assert.equal(state?.status, 'running');
      assert.notEqual(state.pid, before.state?.pid);
      assert.deepEqual([networks, ports], [before.networks, before.ports]);
      assert.equal(await fetchText(`http://${ADDRESS.n2}:8090/healthz`), answer);
    });
    assert.equal((await inspect('once')).state?.status, 'exited');
    await hatoba('start', 'once', 'never');
    for (const name of ['once', 'never']) {
      assert.equal((await inspect(name)).state?.status, 'running');
      await hatoba('exec', name, 'true');
    }
    const found = await hatoba('exec', 'once', 'wget', '-q', '-O', '-', 'http://web/healthz');
    assert.equal(found, answer.trim(), 'it finds the other one by its name');
  });

  it('go on while the agent is away, and are left alone by the next', async () => {
    const before = await inspect('web');
    await cluster.hatoba('dev', 'stop-agent', 'n2');
    assert.match(await fetchText(`http://${ADDRESS.n2}:8090/healthz`), /\S/);
    const { code, stderr } = await run('ps');
    assert.equal(code, 1);
    assert.match(stderr, /no agent answers/);
    await cluster.hatoba('dev', 'start-agent', 'n2');
    assert.equal((await inspect('web')).state?.pid, before.state?.pid);
    await hatoba('rm', '-f', 'web', 'once', 'never');
    assert.equal(await hatoba('ps', '-aq'), '');
    await eventually(async () => {
      await assert.rejects(fetchText(`http://${ADDRESS.n2}:8090/healthz`), /ECONNREFUSED/);
    });
  });
});
