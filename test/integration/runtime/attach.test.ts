import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { AttachSession } from '../../../runtime/engine.js';
import {
  aContainer,
  openContainerRig,
  readOutput,
  type ContainerRig,
} from '../../support/container-rig.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

describe('attaching to a container', () => {
  let opened: ContainerRig | undefined;
  let rig: ContainerRig;
  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'busybox']) requiresCommand(this, command);
    opened = await openContainerRig();
    rig = opened;
  });
  after(async () => {
    await opened?.close();
  });

  const sh = (script: string): string[] => ['sh', '-c', script];

  /** Made, attached, started: the client sees all of it. */
  async function runAttached(
    id: string,
    script: string,
    spec: Parameters<typeof aContainer>[2] = {},
    options: { stdin?: boolean; holdsBack?: boolean } = {},
  ): Promise<AttachSession> {
    await rig.containers.create(aContainer(id, sh(script), spec));
    const session = await rig.containers.attach(id, { stdin: false, ...options });
    await rig.containers.start(id);
    return session;
  }

  it('shows stdout and stderr apart, from the first byte to the last', async () => {
    const session = await runAttached('apart', 'echo first; echo oops >&2; printf last');
    const [stdout, stderr] = await Promise.all([text(session.stdout), text(session.stderr)]);
    assert.deepEqual([stdout, stderr], ['first\nlast', 'oops\n']);
    assert.equal((await rig.containers.wait('apart')).exitCode, 0);
  });

  it('carries 10 MB each way without a change, and ends stdin with its client', async () => {
    const session = await runAttached(
      'bulk',
      'cat; echo done >&2',
      { openStdin: true, stdinOnce: true },
      { stdin: true, holdsBack: true },
    );
    const sent = Buffer.alloc(10_000_000, 'the quick brown fox\n');
    for (let at = 0; at < sent.length; at += 4096) sent.writeUInt32LE(at, at);
    session.stdin.end(sent);
    const [got, stderr] = await Promise.all([digest(session.stdout), text(session.stderr)]);
    assert.deepEqual(got, { bytes: sent.length, sha256: sha256(sent) });
    assert.equal(stderr, 'done\n');
  });

  it('loses no output when the container does not read its input', async () => {
    const session = await runAttached(
      'deaf',
      'sleep 0.2; echo one; echo two; echo three',
      { openStdin: true },
      { stdin: true },
    );
    for (let i = 0; i < 100; i++) session.stdin.write(Buffer.alloc(8192));
    assert.equal(await text(session.stdout), 'one\ntwo\nthree\n');
  });

  it('keeps stdin open without a client, and for the next one', async () => {
    const first = await runAttached(
      'open',
      'read a; echo "got $a"; read b; echo "got $b"',
      { openStdin: true },
      { stdin: true },
    );
    first.stdin.write('one\n');
    assert.equal(await line(first.stdout), 'got one\n');
    first.stdin.end();
    first.detach();
    const second = await rig.containers.attach('open', { stdin: true });
    second.stdin.write('two\n');
    assert.equal(await text(second.stdout), 'got two\n');
  });

  it('serves several clients at once; one that only looks on ends nobody’s stdin', async () => {
    const session = await runAttached(
      'several',
      'while read a; do echo "got $a"; done; echo end',
      { openStdin: true, stdinOnce: true },
      { stdin: true },
    );
    const onlooker = await rig.containers.attach('several', { stdin: false });
    const passerby = await rig.containers.attach('several', { stdin: true });
    session.stdin.write('one\n');
    assert.equal(await line(onlooker.stdout), 'got one\n');
    onlooker.detach();
    session.stdin.write('two\n');
    session.stdin.end();
    assert.equal(await text(session.stdout), 'got one\ngot two\nend\n');
    assert.equal(await text(passerby.stdout), 'got one\ngot two\nend\n');
  });

  it('gives a terminal its size, its keys and one stream', async () => {
    const script =
      'trap "echo broken" INT; stty size; read a; stty size; echo "got $a" >&2; read b; read c; echo "end $?"; exit 3';
    await rig.containers.create(aContainer('tty', sh(script), { tty: true, openStdin: true }));
    const size = { rows: 33, columns: 99 };
    const session = await rig.containers.attach('tty', { stdin: true, size });
    await rig.containers.start('tty');
    const seen = follow(session.stdout);
    await eventually(() => assert.equal(seen.text, '33 99\r\n'));
    await session.resize({ rows: 40, columns: 5000 });
    const { pid = 0 } = rig.containers.get('tty') ?? {};
    await eventually(() => assert.equal(sizeOf(`/proc/${pid}/fd/0`), '40 1000'));
    session.stdin.write('x\n');
    await eventually(() => assert.match(seen.text, /40 1000\r\ngot x\r\n$/));
    session.stdin.write('\x03');
    await eventually(() => assert.match(seen.text, /\^C.*broken/s));
    assert.equal(await text(session.stderr), '');
    session.stdin.write('\x04');
    await eventually(() => assert.match(seen.text, /end 1\r\n$/));
    assert.equal((await rig.containers.wait('tty')).exitCode, 3);
    await eventually(() => assert.ok(session.stdout.closed));
  });

  it('does not let a client who does not read hold up others, the log, or the end', async () => {
    const slow = await runAttached('flood', 'seq 1 1500000; echo end');
    const cutOff = once(slow.stdout, 'error');
    const quick = await rig.containers.attach('flood', { stdin: false });
    quick.stdout.resume();
    await once(quick.stdout, 'end');
    assert.equal((await rig.containers.wait('flood')).exitCode, 0);
    assert.deepEqual(await readOutput(rig.containers, 'flood', { tail: 1 }), ['stdout: end']);
    assert.match(String((await cutOff)[0]), /were not read/);
  });

  it('lets a client hold the container back who wants all of it; not from its end', async () => {
    const session = await runAttached('held', 'yes', {}, { holdsBack: true });
    await once(session.stdout, 'readable');
    const before = await eventually(async () => {
      const size = (await rig.containers.stats('held'))?.cpuTotalNs ?? 0;
      assert.ok(size > 0);
      return session.stdout.readableLength;
    });
    assert.ok(before < 1 << 20);
    await rig.containers.kill('held', 'KILL');
    assert.equal((await rig.containers.wait('held')).exitCode, 137);
    for await (const chunk of session.stdout) assert.ok((chunk as Buffer).length > 0);
  });

  it('waits for the next run of a container that has ended', async () => {
    (await runAttached('again', 'echo hello')).stdout.resume();
    await rig.containers.wait('again');
    await assert.rejects(rig.containers.attach('again', { stdin: false }), {
      kind: 'failed-precondition',
    });
    const session = await rig.containers.attach('again', { stdin: false, nextRun: true });
    await rig.containers.start('again');
    assert.equal(await text(session.stdout), 'hello\n');
  });

  it('is possible again after a restart of the engine', async () => {
    const first = await runAttached('later', 'read a; echo "got $a"', { openStdin: true }, {});
    await rig.reopen();
    const second = await rig.containers.attach('later', { stdin: true });
    second.stdin.write('x\n');
    assert.equal(await text(second.stdout), 'got x\n');
    assert.equal(await text(first.stdout), 'got x\n');
  });
});

/** "rows columns" of a terminal. */
function sizeOf(terminal: string): string {
  return execFileSync('stty', ['-F', terminal, 'size'], { encoding: 'utf8' }).trim();
}

function follow(stream: Readable): { text: string } {
  const seen = { text: '' };
  stream.on('data', (chunk: Buffer) => {
    seen.text += chunk.toString();
  });
  return seen;
}

/** What comes next. */
async function line(stream: Readable): Promise<string> {
  const [chunk] = (await once(stream, 'data')) as [Buffer];
  stream.pause();
  return chunk.toString();
}

async function digest(stream: Readable): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  return { bytes, sha256: hash.digest('hex') };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
