import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { cleanUp } from '../../support/clean-up.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { REGISTRY_PASSWORD, REGISTRY_USER, TestRegistry } from '../../support/registry.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { AgentHost } from './agent-host.js';
import { TestManager } from './test-manager.js';

const run = promisify(execFile);
const CLI = ['--import=tsx', 'cli/main.ts'];
/** On the loopback of the agent's machine, which is a network namespace. */
const HOST = '127.0.0.1:5000';

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

describe('a registry that wants a login, on the command line', function () {
  let manager: TestManager;
  let host: AgentHost;
  let registry: TestRegistry;
  let credentials: string;

  before(async function () {
    requiresRoot(this);
    for (const command of ['docker-registry', 'busybox', 'crun', 'conmon', 'nft']) {
      requiresCommand(this, command);
    }
    manager = await TestManager.start();
    host = new AgentHost(manager);
    await host.setUp();
    await host.start();
    const inside = ['ip', 'netns', 'exec', host.netns];
    registry = await TestRegistry.start({
      host: HOST,
      prefix: inside,
      auth: '{ htpasswd: { realm: tests, path: HTPASSWD } }',
      probe: () =>
        run('ip', [...inside.slice(1), 'sh', '-c', 'busybox nc 127.0.0.1 5000 </dev/null']),
    });
    credentials = join(host.folder, 'user', 'credentials.json');
    await host.loadImage(await dockerArchive(await busyboxImage({ tag: 'box:1' })));
    await succeeds('image', 'tag', 'box:1', `${HOST}/team/box:1`);
  });
  after(async () => {
    await cleanUp(
      () => (registry as TestRegistry | undefined)?.stop(),
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
    );
  });

  async function hatoba(args: readonly string[], input = ''): Promise<Result> {
    const env = {
      ...process.env,
      HOME: host.folder,
      HATOBA_CONFIG: join(host.folder, 'user'),
      HATOBA_AGENT: join(host.runDir, 'agent.sock'),
    };
    const child = spawn(process.execPath, [...CLI, ...args], { env });
    const closed = once(child, 'close');
    child.stdin.end(input);
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    await closed;
    return { code: child.exitCode, stdout: stdout.trim(), stderr };
  }

  async function succeeds(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await hatoba(args);
    assert.equal(code, 0, `hatoba ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  const login = (password: string): Promise<Result> =>
    hatoba(['login', HOST, '-u', REGISTRY_USER, '--password-stdin'], `${password}\n`);

  it('refuses who is unknown, and keeps nothing of them', async () => {
    const { code, stderr } = await hatoba(['image', 'push', `${HOST}/team/box:1`]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /registry answered 401 .*; it needs a login: hatoba login 127\.0\.0\.1:5000/,
    );
    const wrong = await login('wrong');
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /^error: login at 127\.0\.0\.1:5000 refused: .*401 UNAUTHORIZED/);
    assert.equal(existsSync(credentials), false);
  });

  it('lets who has logged in push and pull, until they log out', async () => {
    const { code, stdout, stderr } = await login(REGISTRY_PASSWORD);
    assert.deepEqual([code, stdout], [0, 'Login Succeeded'], stderr);
    assert.equal(statSync(credentials).mode & 0o777, 0o600);
    const digest = await succeeds('image', 'push', `${HOST}/team/box:1`);
    assert.match(digest, /127\.0\.0\.1:5000\/team\/box@sha256:[0-9a-f]{64}$/);
    await succeeds('image', 'rm', `${HOST}/team/box:1`);
    const container = await succeeds('create', `${HOST}/team/box:1`); // which pulls it
    await succeeds('rm', container);
    const archive = join(host.folder, 'box.tar');
    await succeeds('image', 'pull', '-o', archive, `${HOST}/team/box:1`);
    assert.match((await run('tar', ['-tf', archive])).stdout, /^manifest.json$/m);
    assert.equal(await succeeds('logout', HOST), `Removed the login at ${HOST}`);
    assert.doesNotMatch(readFileSync(credentials, 'utf8'), /auth"/);
    assert.equal(await succeeds('logout', HOST), `Not logged in at ${HOST}`);
    const after = await hatoba(['image', 'push', `${HOST}/team/box:1`]);
    assert.equal(after.code, 1);
  });

  const misuses: [string[], RegExp][] = [
    [['login', 'no registry'], /"no registry" is no registry/],
    [['login', HOST], /no terminal to ask at: give --username and --password-stdin/],
    [['login', HOST, '-u', 'ann'], /no terminal to ask for the password: give --password-stdin/],
    [['login', HOST, '--password-stdin'], /--password-stdin needs --username/],
    [['login', '-u', 'a', '-p', 'b', '--password-stdin'], /exclude each other/],
  ];
  for (const [args, message] of misuses) {
    it(`says what is wrong with ${args.join(' ')}`, async () => {
      const { code, stderr } = await hatoba(args);
      assert.notEqual(code, 0);
      assert.match(stderr, message);
    });
  }
});
