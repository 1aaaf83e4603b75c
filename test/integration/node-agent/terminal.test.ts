import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { cleanUp } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { PtyProcess } from '../../support/pty.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { AgentHost } from './agent-host.js';
import { LocalRig } from './local-rig.js';
import { TestManager } from './test-manager.js';

const CLI = [process.execPath, '--import', 'tsx', 'cli/main.ts'];
const DETACH = '\x10\x11';

describe('containers at a terminal', function () {
  let manager: TestManager;
  let host: AgentHost;
  let rig: LocalRig;
  const terminals: PtyProcess[] = [];

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip', 'busybox', 'nft', 'python3'])
      requiresCommand(this, command);
    manager = await TestManager.start();
    host = new AgentHost(manager);
    rig = new LocalRig(host);
    await host.setUp();
    await host.start();
    const image = await busyboxImage({ tag: 'box:1', applets: ['stty', 'tty', 'kill', 'seq'] });
    await host.loadImage(await dockerArchive(image));
  });
  after(async () => {
    await cleanUp(
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
    );
  });
  afterEach(async function () {
    for (const terminal of terminals.splice(0)) terminal.close();
    if (this.currentTest?.state === 'failed') process.stderr.write(host.log.slice(-4000));
    for (const { id } of await rig.list()) await rig.remove(id);
  });

  const environment = (): Record<string, string> => ({
    HATOBA_AGENT: join(host.runDir, 'agent.sock'),
    HATOBA_CONFIG: join(host.folder, 'cli'),
  });

  /** `hatoba …` at a terminal of 24 by 80. */
  function sit(...words: string[]): PtyProcess {
    const options = { rows: 24, columns: 80, env: environment() };
    const terminal = new PtyProcess([...CLI, ...words], options);
    terminals.push(terminal);
    return terminal;
  }

  /** `hatoba …` between pipes. */
  function pipe(...words: string[]) {
    const [file = '', ...args] = [...CLI, ...words];
    const env = { ...process.env, ...environment() };
    const child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
    stdout.catch(() => undefined); // cut off where a test does so
    const ended = once(child, 'close').then(async ([exitCode]) => ({
      exitCode: exitCode as number,
      stdout: await stdout,
      stderr: await stderr,
    }));
    return { child, ended };
  }

  it('run -it: the window’s size, Ctrl-C, the exit code, and the terminal as it was', async () => {
    const terminal = sit('run', '-it', '--rm', 'box:1', 'sh');
    await terminal.shows(/# /);
    terminal.type('tty; stty size\r');
    await terminal.shows(/\/dev\/(console|pts\/0)\r\n24 80\r\n/);
    terminal.resize(40, 132);
    await terminal.answers('stty size\r', /40 132\r\n/);
    // said by the child itself: it is in the foreground then, where Ctrl-C goes
    terminal.type("sh -c 'echo g''o; exec sleep 1000'\r");
    await terminal.shows(/\ngo\r\n/);
    terminal.type('\x03');
    await terminal.shows(/\^C.*# /s);
    terminal.type('exit 7\r');
    assert.deepEqual(await terminal.ended, { exitCode: 7, isRestored: true });
    await eventually(async () => assert.deepEqual(await rig.list(), []));
  });

  it('the detach keys leave it running; attach and start -ai come back', async () => {
    const terminal = sit('run', '-it', '--name', 'box', 'box:1', 'sh');
    await terminal.shows(/# /);
    terminal.type(`echo one${DETACH}`);
    assert.deepEqual(await terminal.ended, { exitCode: 0, isRestored: true });
    assert.equal((await rig.inspect('box')).state?.status, 'running');
    const back = sit('attach', '--detach-keys', 'ctrl-a,b', 'box');
    await back.answers('\r', /one\r\n/);
    back.type('echo ab\x01\x05c\r');
    await back.shows(/\r\nabc\r\n/);
    back.type('exit 3\r');
    assert.deepEqual(await back.ended, { exitCode: 3, isRestored: true });
    const again = sit('start', '-ai', 'box');
    await again.shows(/# /);
    again.type('exit 4\r');
    assert.deepEqual(await again.ended, { exitCode: 4, isRestored: true });
  });

  it('exec -it: its own terminal, the exit code, and detaching', async () => {
    await rig.run({ name: 'box', spec: { args: ['sleep', '1000'] } });
    const terminal = sit('exec', '-it', '-e', 'A=b', 'box', 'sh');
    await terminal.shows(/# /);
    terminal.type('tty; stty size; echo $A; exit 9\r');
    await terminal.shows(/\/dev\/pts\/\d+\r\n24 80\r\nb\r\n/);
    assert.deepEqual(await terminal.ended, { exitCode: 9, isRestored: true });
    const left = sit('exec', '-it', 'box', 'sh', '-c', 'read a; sleep 0.2; echo $a > /tmp/said');
    await left.answers('x', /x/);
    left.type(`\r${DETACH}`);
    assert.deepEqual(await left.ended, { exitCode: 0, isRestored: true });
    await eventually(async () => {
      const { stdout } = await pipe('exec', 'box', 'cat', '/tmp/said').ended;
      assert.match(stdout, /^x+\n$/);
    });
  });

  it('a signal to the client puts the terminal back and leaves the container alone', async () => {
    for (const [signal, exitCode] of [
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      const terminal = sit('run', '-it', '--name', signal, 'box:1', 'sh');
      await terminal.shows(/# /);
      terminal.kill(signal);
      assert.deepEqual(await terminal.ended, { exitCode, isRestored: true });
      assert.equal((await rig.inspect(signal)).state?.status, 'running');
    }
  });

  it('without a terminal: streams apart, stdin to its end, the exit code', async () => {
    const { child, ended } = pipe('run', '-i', 'box:1', 'sh', '-c', 'cat; echo done >&2; exit 5');
    child.stdin.end('hello\n');
    assert.deepEqual(await ended, { exitCode: 5, stdout: 'hello\n', stderr: 'done\n' });
  });

  it('without a terminal, signals are the container’s', async () => {
    const script = 'trap "echo got it; exit 6" TERM; echo ready; while :; do sleep 0.05; done';
    const { child, ended } = pipe('run', 'box:1', 'sh', '-c', script);
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    const { exitCode, stdout } = await ended;
    assert.deepEqual([exitCode, stdout], [6, 'ready\ngot it\n']);
  });

  it('a reader that has enough ends the client quietly', async () => {
    const { child } = pipe('run', '--name', 'much', 'box:1', 'seq', '1', '10000000');
    await once(child.stdout, 'data');
    child.stdout.destroy();
    child.stdout.on('error', () => undefined);
    const [exitCode] = (await once(child, 'exit')) as [number];
    assert.equal(exitCode, 0);
  });
});
