import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { DevCluster, requiresDevCluster, run, HELLO } from './cluster.js';

describe('after dev down', function () {
  before(function () {
    requiresDevCluster(this);
  });

  it('nothing is left: no process, namespace, mount, cgroup, link, nft table or file', async () => {
    const before = await stateOfMachine();
    const cluster = await DevCluster.up();
    await cluster.loadImages();
    await cluster.hatoba('deploy', '-f', HELLO, 'hello');
    const local = ['--detach', '--restart', 'always', '--publish', '8095:80', 'hello-api:1'];
    await cluster.hatoba('run', ...local);
    await cluster.hatoba('run', '--detach', '--network', 'none', 'hello-api:1', 'true');
    await cluster.hatoba('dev', 'kill', 'n3');
    await cluster.hatoba('dev', 'partition', 'n2');
    const during = await stateOfMachine();
    assert.ok(during.processes.length > before.processes.length + 10, 'the check sees what runs');
    assert.ok(during.cgroups.length > before.cgroups.length);
    assert.ok(during.mounts.length > before.mounts.length);
    await cluster.down();
    assert.deepEqual(await stateOfMachine(), before);
  });

  it('and a second down, or one without a cluster, is no error', async () => {
    const cluster = await DevCluster.up(1);
    await cluster.hatoba('dev', 'down');
    await cluster.down();
  });
});

/** All that a dev cluster could leave behind. */
async function stateOfMachine() {
  const links = JSON.parse(await run('ip', ['-json', 'link'])) as { ifname: string }[];
  return {
    processes: processNames(),
    namespaces: (await run('ip', ['netns', 'list'])).trim().split('\n'),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
      .filter((target) => target.includes('hatoba')),
    cgroups: readdirSync('/sys/fs/cgroup', { recursive: true })
      .map(String)
      .filter((path) => path.includes('hatoba-dev')),
    links: links.map((l) => l.ifname).sort(),
    tables: (await run('nft', ['list', 'tables'])).trim().split('\n'),
    files: ['/run/hatoba/dev', '/var/lib/hatoba/dev'].filter((path) => existsSync(path)),
    forwarding: [readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')],
  };
}

/** Command lines of Hatoba's processes and of what they start, anywhere on the machine. */
function processNames(): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const cgroup = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
      const ours =
        /hatoba-(agent|manager)|conmon|etcd/.test(command) || cgroup.includes('hatoba-dev');
      return ours ? [command] : [];
    } catch {
      return []; // it ended meanwhile
    }
  });
}
