import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cleanUp } from '../support/clean-up.js';
import { eventually } from '../support/eventually.js';
import { Podman } from '../support/podman.js';
import { TestRegistry } from '../support/registry.js';
import { requiresCommand } from '../support/requires.js';
import { ADDRESS, CLI, DevCluster, requiresDevCluster } from './cluster.js';

const run = promisify(execFile);
const REGISTRY = `${ADDRESS.n1}:5000`;
const IMAGE = `${REGISTRY}/debian:12`;
const PACKAGES = 'nginx-light,redis-server,postgresql';

/**
 * What people run: servers of a distribution, from an image that other tools made, moved and can
 * run too.
 */
describe('a Debian root with nginx, redis and postgres', function () {
  let cluster: DevCluster;
  let registry: TestRegistry | undefined;
  let opened: DevCluster | undefined;

  before(async function () {
    requiresDevCluster(this);
    for (const command of ['docker-registry', 'mmdebstrap', 'skopeo', 'podman']) {
      requiresCommand(this, command);
    }
    opened = cluster = await DevCluster.up(1, '--insecure-registry', REGISTRY);
    const prefix = [process.execPath, CLI, 'dev', 'exec', 'n1', '--'];
    registry = await TestRegistry.start({ host: REGISTRY, prefix });
    await makeRoot(join(cluster.folder, 'root.tar'));
  });
  after(async () => {
    await cleanUp(
      () => registry?.stop(),
      () => opened?.down(),
    );
  });

  /** `hatoba ARGS`, its output without the line end. */
  async function hatoba(...args: string[]): Promise<string> {
    return (await cluster.hatoba(...args)).trimEnd();
  }

  async function addressOf(name: string): Promise<string> {
    const [found] = JSON.parse(await hatoba('inspect', name)) as [
      { NetworkSettings: { IPAddress: string } },
    ];
    return found.NetworkSettings.IPAddress;
  }

  it('becomes an image, is pushed by skopeo, and pulled', async () => {
    const [root, archive] = [join(cluster.folder, 'root.tar'), join(cluster.folder, 'oci.tar')];
    const id = await hatoba('image', 'import', root, 'made:1', '-c', 'ENV LANG=C.UTF-8');
    await hatoba('image', 'save', '--format', 'oci', '-o', archive, 'made:1');
    await run('skopeo', [
      ...['copy', '--quiet', '--dest-tls-verify=false'],
      ...[`oci-archive:${archive}`, `docker://${IMAGE}`],
    ]);
    await hatoba('image', 'rm', 'made:1');
    await hatoba('image', 'pull', IMAGE);
    assert.match(await hatoba('image', 'inspect', IMAGE), new RegExp(`"Id": "${id}"`));
  });

  it('runs nginx, which answers on a published port', async () => {
    await hatoba(
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      '8080:80',
      IMAGE,
      'nginx',
      '-g',
      'daemon off;',
    );
    await eventually(async () => {
      const answer = await fetch(`http://${ADDRESS.n1}:8080/`);
      assert.match(await answer.text(), /Welcome to nginx/);
      assert.match(answer.headers.get('server') ?? '', /nginx/);
    });
    await hatoba('exec', 'web', 'sh', '-c', 'echo changed > /var/www/html/index.html');
    assert.equal(await (await fetch(`http://${ADDRESS.n1}:8080/index.html`)).text(), 'changed\n');
    assert.match(await hatoba('diff', 'web'), /^A \/var\/www\/html\/index\.html$/m);
    assert.match(await hatoba('logs', 'web').then(() => hatoba('top', 'web')), /nginx: worker/);
  });

  it('runs redis, which answers its own client in another container', async () => {
    const server = ['redis-server', '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', ''];
    await hatoba('run', '-d', '--name', 'cache', '-m', '128m', IMAGE, ...server);
    const client = ['run', '--rm', IMAGE, 'redis-cli', '-h', await addressOf('cache')];
    await eventually(async () => assert.equal(await hatoba(...client, 'ping'), 'PONG'));
    assert.equal(await hatoba(...client, 'set', 'k', 'v'), 'OK');
    assert.equal(await hatoba(...client, 'get', 'k'), 'v');
    await hatoba('restart', 'cache');
    await eventually(async () => assert.equal(await hatoba(...client, 'ping'), 'PONG'));
  });

  it('runs postgres as its own user, on a volume that outlives its container', async () => {
    const allow = await cluster.compose(
      'pg_hba.conf',
      'local all all trust\nhost all all all trust\n',
    );
    const start = async (): Promise<string[]> => {
      await hatoba(
        ...['run', '-d', '--name', 'db', '-u', 'postgres', '--shm-size', '128m'],
        ...[
          '-v',
          'pgdata:/var/lib/postgresql',
          '-v',
          `${allow}:/etc/postgresql/15/main/pg_hba.conf:ro`,
        ],
        ...['--tmpfs', '/var/run/postgresql:mode=1777', IMAGE],
        ...['/usr/lib/postgresql/15/bin/postgres', '-D', '/var/lib/postgresql/15/main'],
        ...[
          '-c',
          'config_file=/etc/postgresql/15/main/postgresql.conf',
          '-c',
          'listen_addresses=*',
        ],
      );
      const client = [
        'run',
        '--rm',
        IMAGE,
        'psql',
        '-At',
        '-h',
        await addressOf('db'),
        '-U',
        'postgres',
        '-c',
      ];
      await eventually(async () => assert.equal(await hatoba(...client, 'select 6*7'), '42'));
      return client;
    };
    let client = await start();
    await hatoba(...client, "create table t(a text); insert into t values ('kept')");
    await hatoba('stop', 'db');
    await hatoba('rm', 'db');
    client = await start();
    assert.equal(await hatoba(...client, 'select a from t'), 'kept');
  });

  it('lives on when the agent is stopped, and is stopped and removed after', async () => {
    const pids = async (): Promise<string> =>
      hatoba('ps', '-o', 'json').then((text) =>
        (JSON.parse(text) as { pid: number }[]).map((c) => c.pid).join(' '),
      );
    const before = await pids();
    await hatoba('dev', 'stop-agent', 'n1');
    assert.match(await (await fetch(`http://${ADDRESS.n1}:8080/`)).text(), /changed|nginx/);
    await hatoba('dev', 'start-agent', 'n1');
    assert.equal(await pids(), before);
    await hatoba('stop', 'web', 'cache', 'db');
    assert.equal(await hatoba('ps', '-q'), '');
    await hatoba('rm', '-v', 'web', 'cache', 'db');
    await hatoba('volume', 'rm', 'pgdata');
  });

  it('goes on to podman unchanged, pushed and saved by Hatoba', async () => {
    const pushed = `${REGISTRY}/again:1`;
    await hatoba('image', 'tag', IMAGE, pushed);
    const digest = await hatoba('image', 'push', pushed);
    assert.match(digest, /sha256:[0-9a-f]{64}/);
    const podman = new Podman(join(cluster.folder, 'podman'));
    const pull = (from: string): Promise<string> =>
      podman.call('pull', '--quiet', '--tls-verify=false', from);
    try {
      const line = ['redis-server', '--version'];
      const own = await hatoba('run', '--rm', pushed, ...line);
      assert.equal(await podman.run(await pull(`docker://${pushed}`), ...line), own);
      const archive = join(cluster.folder, 'saved.tar');
      await hatoba('image', 'save', '-o', archive, pushed);
      assert.equal(await podman.run(await pull(`docker-archive:${archive}`), ...line), own);
    } finally {
      await podman.close();
    }
  });
});

/** A Debian root file system with the packages, from the package sources of this machine. */
async function makeRoot(tar: string): Promise<void> {
  const folder = '/etc/apt/sources.list.d';
  const sources = readdirSync(folder).filter((name) => name.endsWith('.sources'));
  const paths = sources.map((name) => join(folder, name));
  // Machines that have none of these have the one file of old.
  const list = paths.length > 0 ? `${tar}.sources` : '/etc/apt/sources.list';
  if (paths.length > 0) {
    await writeFile(list, paths.map((path) => readFileSync(path, 'utf8')).join('\n'));
  }
  const leaveOut = ['man', 'doc', 'locale'].map((what) => `path-exclude=/usr/share/${what}/*`);
  await run(
    'sh',
    [
      ...['-c', 'exec mmdebstrap "$@" - <"$0"', list, '--quiet', '--variant=essential'],
      ...[`--include=${PACKAGES}`, ...leaveOut.map((o) => `--dpkgopt=${o}`), 'bookworm', tar],
    ],
    { maxBuffer: 16 * 1024 * 1024 },
  );
}
