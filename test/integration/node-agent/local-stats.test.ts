import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cleanUp } from '../../support/clean-up.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { PtyProcess } from '../../support/pty.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { AgentHost } from './agent-host.js';
import { LocalRig } from './local-rig.js';
import { TestManager } from './test-manager.js';

const MIB = 1024 * 1024;
const CLI = ['--import=tsx', 'cli/main.ts'];
const run = promisify(execFile);

describe('what containers use, on the command line', function () {
  let manager: TestManager;
  let host: AgentHost;
  let rig: LocalRig;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'busybox', 'nft', 'python3'])
      requiresCommand(this, command);
    manager = await TestManager.start();
    host = new AgentHost(manager);
    rig = new LocalRig(host);
    await host.setUp();
    await host.start();
    await host.loadImage(await dockerArchive(await busyboxImage({ tag: 'box:1', applets: [] })));
    const spec = { args: ['sh', '-c', 'while :; do sleep 0.01; done'] };
    await rig.run({ name: 'worker', spec, limits: { memoryBytes: 64 * MIB } });
  });
  after(async () => {
    await cleanUp(
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
    );
  });

  function environment(): Record<string, string> {
    return { HATOBA_AGENT: join(host.runDir, 'agent.sock') };
  }

  async function hatoba(...args: string[]): Promise<string> {
    const { stdout } = await run(process.execPath, [...CLI, ...args], {
      env: { ...process.env, ...environment() },
    });
    return stdout.trimEnd();
  }

  async function fails(...args: string[]): Promise<{ code: number; stderr: string }> {
    try {
      await hatoba(...args);
    } catch (error) {
      return error as { code: number; stderr: string };
    }
    throw new Error(`hatoba ${args.join(' ')} worked`);
  }

  it('is shown once, with a rate', async () => {
    const [row] = JSON.parse(
      await hatoba('stats', '--no-stream', '-o', 'json', 'worker'),
    ) as Record<string, unknown>[];
    assert.equal(row?.['name'], 'worker');
    assert.equal(row['memoryLimitBytes'], 64 * MIB);
    assert.ok(Number(row['cpuPercent']) > 0 && Number(row['memoryBytes']) > 0);
    const [head = '', line = ''] = (await hatoba('stats', '--no-stream')).split('\n');
    assert.match(
      head,
      /^CONTAINER ID +NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +NET I\/O +BLOCK I\/O +PIDS$/,
    );
    assert.match(line, /^[0-9a-z]{12} +worker +\d+\.\d\d% +[\d.]+[KM]iB \/ 64MiB +\d+\.\d\d% /);
  });

  it('is shown live on a terminal, in place, until Ctrl-C', async () => {
    const words = [process.execPath, ...CLI, 'stats', 'worker'];
    // A terminal that does not know its size.
    const terminal = new PtyProcess(words, { rows: 0, columns: 0, env: environment() });
    try {
      await terminal.shows(/\x1b\[HCONTAINER[^]*worker {3}--/);
      await terminal.shows(/\x1b\[HCONTAINER[^]*worker {3}\d+\.\d\d%/);
      terminal.type('\x03');
      assert.ok((await terminal.ended).isRestored);
    } finally {
      terminal.close();
    }
  });

  it('is listed by process', async () => {
    const rows = JSON.parse(await hatoba('top', 'worker', '-o', 'json')) as Record<
      string,
      unknown
    >[];
    const [first] = rows;
    assert.ok(first !== undefined);
    assert.equal(first['pid'], (await rig.inspect('worker')).state?.pid);
    assert.equal(first['user'], 'root');
    assert.match(String(first['command']), /^sh -c while/);
    assert.match(await hatoba('top', 'worker'), /^PID +PPID +USER +STARTED +CPU +RSS +COMMAND\n/);
    assert.equal((await fails('top', 'nobody')).code, 4);
  });

  it('can be bounded while it runs, one limit without the others', async () => {
    assert.equal(
      await hatoba(
        'update',
        '--cpus',
        '0.5',
        '--pids-limit',
        '40',
        '--restart',
        'always',
        'worker',
      ),
      'worker',
    );
    const { limits, restartPolicy } = await rig.inspect('worker');
    assert.equal(limits?.memoryBytes, 64 * MIB);
    assert.equal(limits.nanoCpus, 5e8);
    assert.equal(limits.pids, 40);
    assert.equal(restartPolicy?.name, 'always');
    await hatoba('update', '--restart', 'no', '--pids-limit', '-1', 'worker');
    assert.equal((await rig.inspect('worker')).limits?.pids, 0);
    const refused = await fails('update', '--cpu-shares', '1', 'worker');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^error: cpu_shares 1 is out of range: 2 to 262144 are allowed$/m);
    assert.equal((await fails('update', 'worker')).code, 2);
  });
});
