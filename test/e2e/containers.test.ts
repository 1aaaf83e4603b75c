import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TaskRow } from '../../cli/output/rows.js';
import { detectCgroups } from '../../runtime/cgroup/cgroup-fs.js';
import { eventually } from '../support/eventually.js';
import { CLI, DevCluster, requiresDevCluster } from './cluster.js';

const ENGINE = '/var/lib/hatoba/dev/n1/agent/engine';

describe('what a compose file says of its containers', function () {
  let cluster: DevCluster;
  let opened: DevCluster | undefined;

  before(async function () {
    requiresDevCluster(this);
    opened = cluster = await DevCluster.up(1);
    await cluster.loadImages();
  });
  after(async () => {
    await opened?.down();
  });

  async function deploy(name: string, service: string, more = ''): Promise<TaskRow> {
    const file = await cluster.compose(`${name}.yaml`, `services: {box: ${service}}\n${more}`);
    await cluster.hatoba('deploy', '-f', file, name);
    const [task] = await cluster.runningTasks(`${name}_box`);
    assert.ok(task !== undefined);
    return task;
  }

  it('a named volume keeps its files over an update of the service', async () => {
    const service = (label: string): string =>
      `{image: "hello-api:1", command: sleep 1000, stop_signal: SIGKILL, environment: {LABEL: ${label}}, volumes: ["data:/data"]}`;
    const volumes = 'volumes: {data: {}}';
    const first = await deploy('kept', service('one'), volumes);
    await cluster.exec(first.id, 'sh', '-c', 'echo $LABEL > /data/file');
    const second = await deploy('kept', service('two'), volumes);
    assert.notEqual(second.id, first.id);
    const found = await cluster.exec(second.id, 'sh', '-c', 'cat /data/file; echo $LABEL');
    assert.equal(found, 'one\ntwo\n');
  });

  it('a tmpfs has its size, and a read-only bind mount cannot be written to', async () => {
    const source = join(cluster.folder, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'file'), 'of the host\n');
    const mounts = [
      `{type: bind, source: "${source}", target: /host, read_only: true}`,
      '{type: tmpfs, target: /scratch, tmpfs: {size: 64k}}',
    ];
    const task = await deploy(
      'mounts',
      `{image: "hello-api:1", command: sleep 1000, stop_signal: SIGKILL, volumes: [${mounts.join(', ')}]}`,
    );
    const probe = [
      'cat /host/file',
      'echo x > /host/file || echo refused',
      'dd if=/dev/zero of=/scratch/x bs=1k count=100 || echo full',
      'wc -c < /scratch/x',
    ].join('; ');
    const found = await cluster.exec(task.id, 'sh', '-c', `exec 2>/dev/null; ${probe}`);
    assert.equal(found, 'of the host\nrefused\nfull\n65536\n');
    assert.equal(readFileSync(join(source, 'file'), 'utf8'), 'of the host\n');
  });

  it('limits stand in the files of its cgroup', async () => {
    const task = await deploy(
      'limits',
      '{image: "hello-api:1", command: sleep 1000, stop_signal: SIGKILL, deploy: {resources: {limits: {cpus: "0.25", memory: 32M, pids: 40}}}}',
    );
    assert.deepEqual(limitsOf(task.pid), {
      memory: String(32 * 1024 * 1024),
      cpu: '25000 100000',
      pids: '40',
    });
  });

  it('a command in a terminal ends with its exit code, while the terminal goes on', async () => {
    const task = await deploy(
      'terminal',
      '{image: "hello-api:1", command: sleep 1000, stop_signal: SIGKILL}',
    );
    const words = [process.execPath, CLI, 'task', 'exec', '-it', task.id, '--'];
    const command = `${words.join(' ')} sh -c 'tty; stty size; exit 5'`;
    // script(1) keeps its terminal open, as a user's is.
    const args = [
      '--quiet',
      '--return',
      '--command',
      `stty rows 33 cols 77; ${command}`,
      '/dev/null',
    ];
    const env = { ...process.env, HATOBA_CONFIG: cluster.folder, SHELL: '/bin/sh' };
    const terminal = spawn('script', args, { env, stdio: ['pipe', 'pipe', 'ignore'] });
    const output: Buffer[] = [];
    terminal.stdout.on('data', (part: Buffer) => output.push(part));
    const [exitCode] = (await once(terminal, 'close')) as [number];
    const lines = Buffer.concat(output).toString().split(/\r*\n/);
    assert.deepEqual([exitCode, ...lines], [5, '/dev/pts/0', '33 77', '']);
  });

  it('its log is rotated at max-size, and service logs shows the newest files', async () => {
    const task = await deploy(
      'chatty',
      '{image: "hello-api:1", command: [sh, -c, "i=0; while true; do i=$$((i+1)); echo line $$i of a container that talks a lot; [ $$((i % 100)) != 0 ] || sleep 0.1; done"], stop_signal: SIGKILL, logging: {driver: json-file, options: {max-size: 20k, max-file: "3"}}}',
    );
    const folder = join(ENGINE, 'containers', containerOf(task.pid), 'log');
    const names = ['container.log', 'container.log.1', 'container.log.2'];
    await eventually(() => assert.deepEqual(readdirSync(folder).sort(), names));
    // It may outgrow its size by what is written within a second, about 80 kB.
    for (const name of names.slice(1)) assert.ok(statSync(join(folder, name)).size < 500_000);
    const lines = (await cluster.hatoba('service', 'logs', 'chatty_box', '--tail', '5'))
      .trim()
      .split('\n');
    assert.equal(lines.length, 5);
    const numbers = lines.map((line) => Number(/line (\d+) of/.exec(line)?.[1]));
    const first = numbers[0] ?? 0;
    assert.ok(first > 0, lines[0]);
    assert.deepEqual(numbers, [0, 1, 2, 3, 4].map((n) => first + n)); // prettier-ignore
  });
});

/** The last part of its cgroup's path is the container's id. */
function containerOf(pid: number | undefined): string {
  const cgroups = readFileSync(`/proc/${pid ?? 0}/cgroup`, 'utf8').split('\n');
  return (
    cgroups
      .find((line) => line.includes('/hatoba-dev/'))
      ?.split('/')
      .at(-1) ?? ''
  );
}

function limitsOf(pid: number | undefined): { memory: string; cpu: string; pids: string } {
  const lines = readFileSync(`/proc/${pid ?? 0}/cgroup`, 'utf8')
    .trim()
    .split('\n');
  const read = (controller: string, file: string): string => {
    const line = lines.find((l) => l.split(':')[1]?.split(',').includes(controller));
    const path = line?.split(':').slice(2).join(':') ?? '';
    const root = controller === '' ? '/sys/fs/cgroup' : `/sys/fs/cgroup/${controller}`;
    return readFileSync(join(root, path, file), 'utf8').trim();
  };
  if (detectCgroups().version === 2) {
    return {
      memory: read('', 'memory.max'),
      cpu: read('', 'cpu.max'),
      pids: read('', 'pids.max'),
    };
  }
  return {
    memory: read('memory', 'memory.limit_in_bytes'),
    cpu: `${read('cpu', 'cpu.cfs_quota_us')} ${read('cpu', 'cpu.cfs_period_us')}`,
    pids: read('pids', 'pids.max'),
  };
}
