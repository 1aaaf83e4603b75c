import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { ExecOptions, ExecSession } from '../../../runtime/engine.js';
import {
  aContainer,
  openContainerRig,
  runExec,
  type ContainerRig,
} from '../../support/container-rig.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

describe('executing in a container', () => {
  let opened: ContainerRig | undefined;
  let rig: ContainerRig;
  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'busybox']) requiresCommand(this, command);
    opened = await openContainerRig();
    rig = opened;
    await rig.containers.create(aContainer('box', ['sleep', '100000']));
    await rig.containers.start('box');
  });
  after(async () => {
    await opened?.close();
  });

  const sh = (script: string): string[] => ['sh', '-c', script];
  const run = (script: string, options: Partial<ExecOptions> & { input?: string } = {}) =>
    runExec(rig.containers, 'box', sh(script), options);
  const start = (script: string, options: Partial<ExecOptions> = {}): Promise<ExecSession> =>
    rig.containers.exec('box', {
      command: sh(script),
      env: [],
      user: '',
      dir: '',
      tty: false,
      stdin: false,
      ...options,
    });

  it('gives the exit code, also when the command could not be run', async () => {
    assert.equal((await run('exit 255')).exitCode, 255);
    assert.equal((await run('kill -9 $$')).exitCode, 137);
    for (const tty of [false, true]) {
      const cases = [
        { command: ['nope'], exitCode: 127, stderr: /"nope": executable file not found/ },
        { command: ['/etc/passwd'], exitCode: 126, stderr: /"\/etc\/passwd": permission denied/ },
      ];
      for (const { command, exitCode, stderr } of cases) {
        const result = await runExec(rig.containers, 'box', command, { tty });
        assert.equal(result.exitCode, exitCode);
        assert.match(result.stderr, stderr);
      }
      assert.equal((await run('true', { dir: '/nowhere', tty })).exitCode, 126);
    }
  });

  it('takes user and groups, variables and directory', async () => {
    const said = await run('id -un; id -G; pwd; echo $HOME $OWN $FROM', {
      user: 'web',
      dir: '/tmp',
      env: ['OWN=x'],
    });
    assert.equal(said.stdout, 'web\n33 50\n/tmp\n/home/web x image\n');
  });

  it('is privileged when asked to be, and not else', async () => {
    const bounding = async (privileged: boolean): Promise<bigint> => {
      const { stdout } = await run('grep CapEff /proc/self/status', { privileged });
      return BigInt(`0x${stdout.trim().split(/\s+/)[1] ?? ''}`);
    };
    const [usual, all] = [await bounding(false), await bounding(true)];
    const own = /^CapBnd:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    assert.equal(all, BigInt(`0x${own}`));
    assert.ok(usual < all);
  });

  it('carries 10 MB each way without a change, stdout and stderr apart', async () => {
    const session = await start('tee /dev/stderr', { stdin: true });
    const sent = Buffer.alloc(10_000_000);
    for (let at = 0; at < sent.length; at += 4) sent.writeUInt32LE(at, at);
    session.stdin.end(sent);
    const [stdout, stderr] = await Promise.all([sha256(session.stdout), sha256(session.stderr)]);
    const wanted = createHash('sha256').update(sent).digest('hex');
    assert.deepEqual([stdout, stderr], [wanted, wanted]);
    assert.equal(await session.exitCode, 0);
  });

  it('ends although something it has started keeps its output open', async () => {
    const { stdout, exitCode } = await run('sleep 1000 & echo started; exit 4');
    assert.deepEqual([stdout, exitCode], ['started\n', 4]);
  });

  it('gives a terminal: size, keys, one stream', async () => {
    const script =
      'trap "echo broken" INT; tty; stty size; read a; stty size; echo "got $a" >&2; read b; read c; echo "end $?"; exit 3';
    const session = await start(script, {
      tty: true,
      stdin: true,
      size: { rows: 33, columns: 99 },
    });
    const seen = follow(session.stdout);
    await eventually(() => assert.match(seen.text, /^\/dev\/pts\/\d+\r\n33 99\r\n$/));
    await session.resize({ rows: 50, columns: 120 });
    session.stdin.write('x\n');
    await eventually(() => assert.match(seen.text, /50 120\r\ngot x\r\n$/));
    session.stdin.write('\x03');
    await eventually(() => assert.match(seen.text, /\^C.*broken/s));
    session.stdin.end('part of a line');
    assert.equal(await session.exitCode, 3);
    await eventually(() => assert.match(seen.text, /end 1\r\n$/));
    assert.equal(await text(session.stderr), '');
  });

  it('shows the last words of a terminal', async () => {
    const { stdout } = await runExec(rig.containers, 'box', ['seq', '1', '50000'], { tty: true });
    const lines = stdout.trimEnd().split('\r\n');
    assert.deepEqual([lines.length, lines.at(-1)], [50_000, '50000']);
  });

  it('is killed when that is asked for, and hangs up its terminal', async () => {
    for (const tty of [false, true]) {
      const session = await start('echo go; sleep 7654', { tty });
      const seen = follow(session.stdout);
      await eventually(() => assert.match(seen.text, /go/));
      await session.kill();
      await session.exitCode;
    }
    await eventually(() => assert.deepEqual(processesWith('7654'), []));
  });

  it('leaves a detached one running, also when the engine ends; not the others', async () => {
    await start('exec sleep 8765', { detach: true });
    const attended = await start('echo go; exec sleep 9876');
    const seen = follow(attended.stdout);
    await eventually(() => assert.match(seen.text, /go/));
    await eventually(() => assert.equal(execFiles().length, 2));
    await rig.reopen();
    await eventually(() => assert.deepEqual(processesWith('9876'), []));
    assert.equal(processesWith('8765').length, 1);
    assert.deepEqual(execFiles(), []);
    await assert.rejects(start('true', { detach: true, dir: '/nowhere' }), {
      kind: 'failed-precondition',
    });
  });

  it('ends with its container', async () => {
    await rig.containers.create(aContainer('short', ['sleep', '100000']));
    await rig.containers.start('short');
    const options = { env: [], user: '', dir: '', tty: true, stdin: false };
    const session = await rig.containers.exec('short', { command: ['sleep', '9999'], ...options });
    await rig.containers.stop('short', { graceMs: 0 });
    assert.equal(await session.exitCode, 137);
  });

  it('leaves nothing open', async () => {
    await run('true');
    const before = readdirSync('/proc/self/fd').length;
    for (const tty of [false, true, false, true]) await run('echo x', { tty });
    await eventually(() => assert.ok(readdirSync('/proc/self/fd').length <= before));
  });

  /** Processes of the rig's containers whose last argument is that. */
  function processesWith(word: string): string[] {
    return readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        const isOurs = readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(rig.cgroupParent);
        return isOurs && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').at(-2) === word;
      } catch {
        return false; // it has ended
      }
    });
  }

  /** Files of execs in the container's bundle. */
  function execFiles(): string[] {
    const pid = rig.containers.get('box')?.pid ?? 0;
    assert.ok(existsSync(`/proc/${pid}`));
    const find = (folder: string): string[] =>
      readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const path = `${folder}/${entry.name}`;
        if (entry.isDirectory()) return entry.name === 'rootfs' ? [] : find(path);
        return entry.name.includes('exec-') ? [path] : [];
      });
    return [rig.runDir, `${rig.stateDir}/containers`].flatMap(find);
  }
});

function follow(stream: Readable): { text: string } {
  const seen = { text: '' };
  stream.on('data', (chunk: Buffer) => {
    seen.text += chunk.toString();
  });
  return seen;
}

async function sha256(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest('hex');
}
