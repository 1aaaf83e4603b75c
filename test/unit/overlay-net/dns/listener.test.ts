import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { DisposableStack } from '../../../../common/disposable.js';
import { silentLogger, type Logger } from '../../../../common/logger.js';
import { FrameReader, toFrame } from '../../../../overlay-net/dns/frames.js';
import { DnsServer } from '../../../../overlay-net/dns/server.js';
import { eventually } from '../../../support/eventually.js';
import { FakeClock } from '../../../support/fake-clock.js';

const HOST = '127.0.0.1';

describe('DNS sockets', () => {
  let stack: DisposableStack;
  let clock: FakeClock;
  let port: number;
  let server: DnsServer;
  let log: string[];
  /** Questions that wait for their answer. */
  let waiting: (() => void)[];

  beforeEach(async () => {
    stack = new DisposableStack();
    clock = new FakeClock();
    log = [];
    waiting = [];
    const tell = (message: string): void => void log.push(message);
    const logger: Logger = { ...silentLogger, error: tell, info: tell };
    port = await freePort();
    server = stack.use(
      'server',
      new DnsServer(
        { port },
        {
          clock,
          logger,
          respond: (message) => {
            if (message.toString() === 'throw') throw new Error('thrown');
            if (message.toString() !== 'wait') return message;
            return new Promise((resolve) => waiting.push(() => resolve(message)));
          },
        },
      ),
    );
  });
  afterEach(async () => {
    await stack[Symbol.asyncDispose]();
    assert.equal(clock.pendingTimers, 0);
  });

  async function freePort(): Promise<number> {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, HOST, resolve));
    const found = (probe.address() as AddressInfo).port;
    await new Promise((resolve) => probe.close(resolve));
    return found;
  }

  async function askUdp(text: string): Promise<string> {
    const socket = createSocket('udp4');
    socket.send(text, port, HOST);
    const [answer] = (await once(socket, 'message')) as [Buffer];
    socket.close();
    return answer.toString();
  }

  async function open(): Promise<Socket> {
    const socket = connect(port, HOST);
    socket.on('error', () => undefined);
    stack.defer('client', () => void socket.destroy());
    await once(socket, 'connect');
    return socket;
  }

  /** The answers until there are `count`, or the connection ends. */
  async function read(socket: Socket, count: number): Promise<string[]> {
    const frames = new FrameReader();
    const answers: string[] = [];
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      answers.push(...frames.push(chunk as Buffer).map(String));
      if (answers.length >= count) break;
    }
    return answers;
  }

  it('answer at the addresses asked for, and at those only', async () => {
    await server.listenAt(new Set([HOST]));
    assert.equal(await askUdp('hello'), 'hello');
    assert.equal(server.isOwn(HOST), true);
    await server.listenAt(new Set());
    const socket = connect(port, HOST);
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ECONNREFUSED');
  });

  it('are opened as soon as another program gives up the port, which the log tells once', async () => {
    const other = createSocket('udp4');
    await new Promise<void>((resolve) => other.bind({ port, address: HOST }, resolve));
    await server.listenAt(new Set([HOST]));
    await clock.advance(10_000);
    assert.deepEqual(log, ['Could not open a DNS socket, trying again']);
    await new Promise<void>((resolve) => other.close(() => resolve()));
    await eventually(async () => {
      await clock.advance(5000);
      assert.equal(log[1], 'Opened the DNS socket');
    });
    assert.equal(await askUdp('hello'), 'hello');
  });

  it('go on after a question that could not be answered', async () => {
    await server.listenAt(new Set([HOST]));
    const socket = await open();
    socket.write(Buffer.concat(['throw', 'hello'].map((t) => toFrame(Buffer.from(t)))));
    assert.deepEqual(await read(socket, 1), ['hello']);
    assert.deepEqual(log, ['Could not answer a DNS question']);
  });

  it('answer who has said all', async () => {
    await server.listenAt(new Set([HOST]));
    const socket = await open();
    socket.end(toFrame(Buffer.from('wait')));
    await eventually(() => assert.equal(waiting.length, 1));
    waiting[0]?.();
    assert.deepEqual(await read(socket, 2), ['wait']);
  });

  it('hang up on who makes no question for ten seconds, however many bytes come', async () => {
    await server.listenAt(new Set([HOST]));
    const socket = await open();
    socket.write(toFrame(Buffer.from('hello')));
    assert.deepEqual(await read(socket, 1), ['hello']);
    await clock.advance(9000);
    socket.write(toFrame(Buffer.from('hello')));
    assert.deepEqual(await read(socket, 1), ['hello']);
    await clock.advance(9000);
    socket.write(Buffer.from([0, 5, 1]));
    socket.resume();
    const closed = once(socket, 'close');
    await eventually(async () => {
      await clock.advance(1000);
      assert.equal(socket.destroyed, true);
    });
    await closed;
  });

  it('take no more from who waits for much', async () => {
    await server.listenAt(new Set([HOST]));
    const socket = await open();
    for (let i = 0; i < 64; i++) socket.write(toFrame(Buffer.from('wait')));
    await eventually(() => assert.equal(waiting.length, 64));
    await new Promise<void>((resolve) =>
      socket.write(toFrame(Buffer.from('wait')), () => resolve()),
    );
    await askUdp('hello');
    assert.equal(waiting.length, 64);
    waiting.forEach((end) => end());
    assert.equal((await read(socket, 64)).length, 64);
    await eventually(() => assert.equal(waiting.length, 65));
  });

  it('leave connections to others when one asker opens many', async () => {
    await server.listenAt(new Set([HOST]));
    const sockets: Socket[] = [];
    for (let i = 0; i < 17; i++) sockets.push(await open());
    const last = sockets.at(-1) ?? assert.fail();
    last.resume();
    await once(last, 'close');
    const first = sockets[0] ?? assert.fail();
    first.write(toFrame(Buffer.from('hello')));
    assert.deepEqual(await read(first, 1), ['hello']);
  });
});
