import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeRow } from '../../cli/output/rows.js';
import { cleanUp } from '../support/clean-up.js';
import { eventually } from '../support/eventually.js';
import { CLI, requiresDevCluster, run, type Result } from './cluster.js';

/** Two machines, as namespaces with a cable between them. */
const HOSTS = { a: '10.79.0.1', b: '10.79.0.2' } as const;
type Host = keyof typeof HOSTS;
const netnsOf = (host: Host): string => `ht-init-${host}`;

describe('hatoba init and join on machines of their own', function () {
  let folder: string;

  before(async function () {
    requiresDevCluster(this);
    folder = await mkdtemp(join(tmpdir(), 'ht-init-'));
    for (const host of ['a', 'b'] as const) await run('ip', ['netns', 'add', netnsOf(host)]);
    const cable = ['link', 'add', 'eth0', 'netns', netnsOf('a'), 'type', 'veth', 'peer', 'eth0'];
    await run('ip', [...cable, 'netns', netnsOf('b')]);
    for (const host of ['a', 'b'] as const) {
      const inHost = ['-netns', netnsOf(host)];
      await run('ip', [...inHost, 'address', 'add', `${HOSTS[host]}/24`, 'dev', 'eth0']);
      await run('ip', [...inHost, 'link', 'set', 'eth0', 'up']);
      await run('ip', [...inHost, 'link', 'set', 'lo', 'up']);
    }
  });
  after(async () => {
    if ((folder as string | undefined) === undefined) return;
    const hosts = ['a', 'b'] as const;
    await cleanUp(
      ...hosts.flatMap((host) =>
        ['agent', 'manager'].map((daemon) => () => end(pidOf(host, daemon))),
      ),
      unmountAll,
      ...hosts.map((host) => () => run('ip', ['netns', 'delete', netnsOf(host)])),
      () => rmSync(folder, { recursive: true, force: true }),
    );
  });

  async function unmountAll(): Promise<void> {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const own = mounts.map((l) => l.split(' ')[4] ?? '').filter((t) => t.startsWith(`${folder}/`));
    for (const target of own.reverse()) await run('umount', ['--lazy', target]);
  }

  const rootOf = (host: Host): string => join(folder, host);
  const pidOf = (host: Host, daemon: string): number | undefined => {
    const file = join(rootOf(host), 'run', `${daemon}.pid`);
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
  };
  const places = (host: Host): string[] => [
    ...['--root', join(rootOf(host), 'lib'), '--run-dir', join(rootOf(host), 'run')],
    ...['--cgroup-parent', `/ht-init-${host}`, '--hostname', `host-${host}`],
  ];
  /** Runs hatoba on a host, against the manager of host a. */
  const hatoba = (host: Host, ...args: string[]): Promise<Result> => {
    const env = {
      ...process.env,
      HATOBA_HOST: join(rootOf('a'), 'run', 'manager.sock'),
      HATOBA_CONFIG: folder,
    };
    const inHost = [`--net=/run/netns/${netnsOf(host)}`, '--', process.execPath, CLI, ...args];
    return new Promise((resolve) => {
      execFile('nsenter', inHost, { env, timeout: 280_000 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, stdout, stderr });
      });
    });
  };
  const ok = async (result: Promise<Result>): Promise<string> => {
    const { code, stdout, stderr } = await result;
    assert.equal(code, 0, stderr);
    return stdout;
  };

  it('init makes this machine the manager of a new cluster, by its only address', async () => {
    const stdout = await ok(hatoba('a', 'init', ...places('a')));
    assert.match(stdout, /hatoba join --token HTBTKN-1-\w+-\w+ 10\.79\.0\.1:4400/);
    const again = await hatoba('a', 'init', ...places('a'));
    assert.equal(again.code, 1);
    assert.match(again.stderr, /already a manager/);
  });

  it('keeps what is secret to root, and the socket to root and the group', () => {
    const mode = (path: string): number => statSync(path).mode & 0o777;
    const lib = join(rootOf('a'), 'lib');
    assert.equal(mode(join(lib, 'pki', 'node.key')), 0o600);
    assert.equal(mode(join(lib, 'agent.yaml')), 0o600);
    assert.equal(mode(join(rootOf('a'), 'run', 'manager.sock')), 0o660);
    assert.equal(mode(join(rootOf('a'), 'run', 'agent.sock')), 0o660);
  });

  it('a machine joins with the token alone, and with no other', async () => {
    const token = (await ok(hatoba('a', 'token', 'show', 'worker'))).trim();
    const forged = token.replace(/-\w+$/, '-0000000000000000000000000');
    const refused = await hatoba('b', 'join', '--token', forged, ...places('b'), HOSTS.a);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /token/);
    const stdout = await ok(hatoba('b', 'join', '--token', token, ...places('b'), HOSTS.a));
    assert.match(stdout, /joined the cluster at 10\.79\.0\.1:4400 as a worker/);
    await eventually(async () => {
      const nodes = JSON.parse(await ok(hatoba('a', 'node', 'ls', '-o', 'json'))) as NodeRow[];
      assert.deepEqual(
        nodes.map((n) => [n.hostname, n.address, n.role, n.state, n.leader]),
        [
          ['host-a', HOSTS.a, 'manager', 'ready', true],
          ['host-b', HOSTS.b, 'worker', 'ready', false],
        ],
      );
    });
  });

  it('a rotated token makes the old one worthless and leaves members alone', async () => {
    const old = (await ok(hatoba('a', 'token', 'show', 'worker'))).trim();
    const fresh = (await ok(hatoba('a', 'token', 'rotate', 'worker'))).trim();
    assert.notEqual(old, fresh);
    assert.equal((await ok(hatoba('a', 'token', 'show', 'worker'))).trim(), fresh);
    const nodes = JSON.parse(await ok(hatoba('a', 'node', 'ls', '-o', 'json'))) as NodeRow[];
    assert.deepEqual(
      nodes.map((n) => n.state),
      ['ready', 'ready'],
    );
  });
});

/** Ends one process started here, and waits for its end. */
async function end(pid: number | undefined): Promise<void> {
  if (pid === undefined) return;
  process.kill(pid, 'SIGTERM');
  await eventually(() => assert.ok(!existsSync(`/proc/${pid}`)));
}
