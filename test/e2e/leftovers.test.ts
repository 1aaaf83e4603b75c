import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import {
  CGROUP,
  DEV_ROOT,
  DEV_RUN,
  MACHINE_LINK,
  NAT_TABLE,
  UNDERLAY_NETNS,
} from '../../deploy/dev/layout.js';
import { eventually } from '../support/eventually.js';
import { DevCluster, requiresDevCluster, run, HELLO } from './cluster.js';

describe('after dev down', function () {
  before(function () {
    requiresDevCluster(this);
  });

  it('nothing is left: no process, namespace, mount, cgroup, link, nft table or file', async () => {
    const { forwarding } = await stateOfCluster();
    const cluster = await DevCluster.up();
    try {
      await cluster.loadImages();
      await cluster.hatoba('deploy', '-f', HELLO, 'hello');
      const local = ['--detach', '--restart', 'always', '--publish', '8095:80', 'hello-api:1'];
      await cluster.hatoba('run', ...local);
      await cluster.hatoba('run', '--detach', '--network', 'none', 'hello-api:1', 'true');
      await cluster.hatoba('dev', 'kill', 'n3');
      await cluster.hatoba('dev', 'partition', 'n2');
      const during = await stateOfCluster();
      assert.ok(during.processes.length > 10, 'the check sees what runs');
      for (const part of ['namespaces', 'mounts', 'cgroups', 'links', 'tables', 'files'] as const) {
        assert.ok(during[part].length > 0, part);
      }
    } finally {
      await cluster.down();
    }
    // Who has been killed is gone when its parent, on a busy machine, has collected it.
    await eventually(async () => {
      assert.deepEqual(await stateOfCluster(), { ...NOTHING, forwarding });
    });
  });

  it('and a second down, or one without a cluster, is no error', async () => {
    const cluster = await DevCluster.up(1);
    await cluster.hatoba('dev', 'down');
    await cluster.down();
  });
});

const NOTHING: Omit<Awaited<ReturnType<typeof stateOfCluster>>, 'forwarding'> = {
  processes: [],
  namespaces: [],
  mounts: [],
  cgroups: [],
  links: [],
  tables: [],
  files: [],
};

/** All that a dev cluster could leave behind; what else is on the machine may come and go. */
async function stateOfCluster() {
  const links = JSON.parse(await run('ip', ['-json', 'link'])) as { ifname: string }[];
  const hierarchies = ['.', ...readdirSync('/sys/fs/cgroup')];
  const folders = [DEV_ROOT, DEV_RUN];
  const isOurs = (path: string): boolean => folders.some((folder) => path.startsWith(folder));
  return {
    processes: processes(),
    namespaces: namesIn('/run/netns').filter((name) => isNetns(name)),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
      .filter((target) => isOurs(target) || isNetns(target.replace('/run/netns/', ''))),
    cgroups: hierarchies.filter((name) => existsSync(`/sys/fs/cgroup/${name}/${CGROUP}`)),
    links: links.map((l) => l.ifname).filter((name) => name === MACHINE_LINK),
    tables: (await run('nft', ['list', 'tables'])).split('\n').filter((t) => t.includes(NAT_TABLE)),
    files: folders.filter((path) => existsSync(path)),
    forwarding: readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'),
  };
}

function isNetns(name: string): boolean {
  return name === UNDERLAY_NETNS || /^hatoba-n\d+$/.test(name);
}

/** Command lines of the cluster's daemons and of what they have started. */
function processes(): string[] {
  return namesIn('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const isNamed = command.includes(`${DEV_ROOT}/`) || command.includes(`${DEV_RUN}/`);
      const isInside = readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/${CGROUP}/`);
      return isNamed || isInside ? [command] : [];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
