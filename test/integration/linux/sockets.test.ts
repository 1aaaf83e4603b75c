import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { openRig, type KernelRig } from './rig.js';

const LISTEN = `
import os, socket, sys
os.chdir(sys.argv[1])
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.bind('attach'); server.listen(1); print('ready', flush=True)
peer = server.accept()[0]
`;
const HAND_OVER = `
import fcntl, os, pty, socket, struct, sys, termios
os.chdir(sys.argv[1])
master, slave = pty.openpty()
console = socket.socket(socket.AF_UNIX); console.connect('console')
socket.send_fds(console, [b'/dev/pts/0'], [master]); os.close(master)
`;

describe('Sockets port', () => {
  let opened: KernelRig | undefined;
  let rig: KernelRig;
  /** Longer than a socket's address. */
  let folder = '';

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'python3');
    opened = await openRig();
    rig = opened;
    folder = join(rig.folder, 'deep'.repeat(30));
    mkdirSync(folder);
  });
  after(async () => {
    await opened?.close();
  });

  /** A connection to a program of python that has `peer`, and what that prints. */
  async function connectTo(
    program: string,
  ): Promise<{ connection: Duplex; said: Promise<string> }> {
    const { stdout } = python(LISTEN + program + '\nos.unlink("attach")');
    await new Promise((resolve) => stdout.once('data', resolve));
    const said = text(stdout);
    return { connection: await rig.kernel.sockets.connectPackets(`${folder}/attach`, 1000), said };
  }

  function python(program: string) {
    return spawn('python3', ['-c', program, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  async function packetsOf(connection: Duplex): Promise<string[]> {
    const packets: string[] = [];
    for await (const packet of connection) packets.push((packet as Buffer).toString());
    return packets;
  }

  it('keeps packets apart, to the last one before the end', async () => {
    const { connection } = await connectTo(
      'for i in range(20): peer.send(b"packet %d" % i)\npeer.close()',
    );
    const wanted = Array.from({ length: 20 }, (_, i) => `packet ${i}`);
    assert.deepEqual(await packetsOf(connection), wanted);
  });

  it('loses nothing to a peer that has left packets unread', async () => {
    const { connection } = await connectTo(
      'peer.recv(9)\nfor i in range(5): peer.send(b"%d" % i)\npeer.close()',
    );
    for (const word of ['one', 'two', 'three']) connection.write(word);
    assert.deepEqual(await packetsOf(connection), ['0', '1', '2', '3', '4']);
    connection.write('too late');
  });

  it('cuts what is written into packets, and passes the end on', async () => {
    const { connection, said } = await connectTo(`
sizes = []
while True:
    packet = peer.recv(65536)
    if not packet: break
    sizes.append(len(packet))
print(sizes); peer.send(b'bye'); peer.close()`);
    connection.write(Buffer.alloc(2500));
    connection.end(Buffer.alloc(3));
    assert.deepEqual(await packetsOf(connection), ['bye']);
    assert.equal((await said).trim(), '[1000, 1000, 500, 3]');
  });

  it('makes a peer wait while it is not read', async () => {
    const { connection, said } = await connectTo(`
peer.setblocking(False); sent = 0
try:
    while sent < 100000: peer.send(bytes(8192)); sent += 1
except BlockingIOError: pass
print(sent < 1000, flush=True); peer.setblocking(True); peer.send(b'after'); peer.close()`);
    const packets = await packetsOf(connection);
    assert.equal((await said).trim(), 'True');
    assert.equal(packets.at(-1), 'after');
  });

  it('says that nobody listens', async () => {
    const path = `${folder}/nobody`;
    await assert.rejects(rig.kernel.sockets.connectPackets(path, 1), { kind: 'not-found' });
  });

  it('takes a terminal over: what is written, typed, and its size', async () => {
    const before = readdirSync('/proc/self/fd').length;
    const listener = await rig.kernel.sockets.listenForTerminal(`${folder}/console`);
    const { stdout } = python(`${HAND_OVER}
line = os.read(slave, 100)
rows, columns = struct.unpack('HHHH', fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))[:2]
os.write(slave, b'%s %d %d\\n' % (line.strip(), rows, columns))
os.write(slave, b'x' * 99 + b'\\n')
print(os.read(slave, 100).decode())
os.write(slave, b'last words')`);
    const terminal = await listener.terminal;
    await listener.close();
    await terminal.resize({ rows: 33, columns: 44 });
    terminal.stream.write('hello\nmore\n');
    const said = (await buffer(terminal.stream)).toString();
    assert.match(said, /hello 33 44\r\n(more\r\n)?x{99}\r\n/);
    assert.match(said, /last words$/);
    assert.equal((await text(stdout)).trim(), 'more');
    await terminal.resize({ rows: 1, columns: 1 }); // it is gone, and nobody minds
    assert.ok(!readdirSync(folder).includes('console'));
    await eventually(() => assert.ok(readdirSync('/proc/self/fd').length <= before));
  });

  it('takes over the terminal of a program that is gone already', async () => {
    const listener = await rig.kernel.sockets.listenForTerminal(`${folder}/console`);
    // Nothing of this process runs meanwhile, as on a machine that is busy.
    spawnSync('python3', ['-c', `${HAND_OVER}\nos.write(slave, b'quick')`, folder]);
    await listener.close();
    const { stream } = await listener.terminal;
    assert.equal((await buffer(stream)).toString(), 'quick');
  });

  it('waits no longer for a terminal when it is closed', async () => {
    const listener = await rig.kernel.sockets.listenForTerminal(`${folder}/console`);
    await listener.close();
    await assert.rejects(listener.terminal, { kind: 'cancelled' });
  });

  it('resizes no file that is no terminal', async () => {
    const size = { rows: 1, columns: 1 };
    await assert.rejects(rig.kernel.sockets.resizeTerminal('/dev/null', size), /ENOTTY/);
  });
});
