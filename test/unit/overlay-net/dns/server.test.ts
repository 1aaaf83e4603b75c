import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo } from 'node:net';
import { decode, encode, type DecodedPacket, type RecordType } from 'dns-packet';
import { systemClock } from '../../../../common/adapters/system-clock.js';
import { DisposableStack } from '../../../../common/disposable.js';
import { silentLogger } from '../../../../common/logger.js';
import { createZone } from '../../../../overlay-net/core/dns-zone.js';
import { Forwarder } from '../../../../overlay-net/dns/forwarder.js';
import { FrameReader, toFrame } from '../../../../overlay-net/dns/frames.js';
import { Responder } from '../../../../overlay-net/dns/responder.js';
import { DnsServer } from '../../../../overlay-net/dns/server.js';
import { endpoint, network, service } from '../../../integration/overlay-net/cluster.js';
import { FakeClock } from '../../../support/fake-clock.js';

const zone = createZone({
  nodeId: 'n1',
  networks: [network('app', 1), network('closed', 3, { internal: true })],
  endpoints: [1, 2].map((n) => endpoint('app', 'n1', 'api', n, `10.128.1.1${n}`)),
  services: [service('app', 'api', '10.128.1.2'), service('app', 'rr', '', { serviceId: 'api' })],
  peers: [],
});

/** Answers every question with 203.0.113.9, by UDP and TCP on one port of 127.0.0.1. */
async function openUpstream(stack: DisposableStack): Promise<number> {
  const answer = (message: Buffer): Buffer => {
    const { id, questions = [] } = decode(message);
    const name = questions[0]?.name ?? '';
    const answers = [{ type: 'A' as const, name, ttl: 60, data: '203.0.113.9' }];
    return encode({ type: 'response', ...(id === undefined ? {} : { id }), questions, answers });
  };
  const tcp = createServer((socket) => {
    const frames = new FrameReader();
    socket.on('data', (chunk) => {
      for (const message of frames.push(chunk)) socket.write(toFrame(answer(message)));
    });
  });
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  const { port } = tcp.address() as AddressInfo;
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => {
    // a forged answer first: with another id it must not be taken
    const forged = Buffer.from(answer(message));
    forged.writeUInt16BE((forged.readUInt16BE(0) + 1) & 0xffff, 0);
    udp.send(forged, from.port, from.address);
    udp.send(answer(message), from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, '127.0.0.1', resolve));
  stack.defer('upstream', () => {
    udp.close();
    tcp.close();
  });
  return port;
}

describe('DNS server', () => {
  let stack: DisposableStack;
  let port = 0;
  let upstreamPort = 0;
  let networks: string[] | undefined = ['app'];
  let upstreams: string[] = [];

  before(async () => {
    stack = new DisposableStack();
    upstreamPort = await openUpstream(stack);
    const clock = systemClock;
    const forwarder = new Forwarder({ upstreams: () => upstreams, port: upstreamPort }, { clock });
    const logger = silentLogger;
    const responder = new Responder({
      forwarder,
      logger,
      zone: () => zone,
      networksOf: () => networks,
    });
    const server = stack.use(
      'server',
      new DnsServer(
        { port: (port = await freePort()) },
        { clock, logger, respond: (...q) => responder.respond(...q) },
      ),
    );
    await server.listenAt(new Set(['127.0.0.1']));
  });
  beforeEach(() => {
    networks = ['app'];
    upstreams = ['127.0.0.1'];
  });
  after(async () => {
    await stack[Symbol.asyncDispose]();
  });

  async function freePort(): Promise<number> {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const found = (probe.address() as AddressInfo).port;
    await new Promise((resolve) => probe.close(resolve));
    return found;
  }

  const question = (name: string, type: RecordType): Buffer =>
    encode({ type: 'query', id: 7, flags: 0x100, questions: [{ name, type }] });

  function askUdp(name: string, type: RecordType = 'A'): Promise<DecodedPacket> {
    return new Promise((resolve) => {
      const socket = createSocket('udp4');
      socket.on('message', (message) => {
        socket.close();
        resolve(decode(message));
      });
      socket.send(question(name, type), port, '127.0.0.1');
    });
  }

  function askTcp(...names: string[]): Promise<DecodedPacket[]> {
    return new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      const frames = new FrameReader();
      const answers: DecodedPacket[] = [];
      socket.on('data', (chunk) => {
        answers.push(...frames.push(chunk).map((f) => decode(f)));
        if (answers.length < names.length) return;
        socket.destroy();
        resolve(answers);
      });
      socket.write(Buffer.concat(names.map((n) => toFrame(question(n, 'A')))));
    });
  }

  const addresses = (packet: DecodedPacket): string[] =>
    (packet.answers ?? []).flatMap((a) => (a.type === 'A' ? [a.data] : []));
  const rcode = (packet: DecodedPacket): unknown => (packet as { rcode?: unknown }).rcode;

  it('answers from the networks of the asker, by UDP and TCP', async () => {
    assert.deepEqual(addresses(await askUdp('api')), ['10.128.1.2']);
    const answers = await askTcp('api', 'tasks.api');
    assert.deepEqual(answers.map((a) => addresses(a).length).sort(), [1, 2]);
  });

  it('turns the addresses of a name', async () => {
    const first = new Set<string | undefined>();
    for (let i = 0; i < 4; i++) first.add(addresses(await askUdp('rr'))[0]);
    assert.deepEqual([...first].sort(), ['10.128.1.11', '10.128.1.12']);
  });

  it('has no address of another type, but does not deny the name', async () => {
    const answer = await askUdp('api', 'AAAA');
    assert.equal(rcode(answer), 'NOERROR');
    assert.deepEqual(answer.answers, []);
  });

  it('asks the resolvers of the host for other names, by the same transport', async () => {
    assert.deepEqual(addresses(await askUdp('example.org')), ['203.0.113.9']);
    const [answer] = await askTcp('example.org');
    assert.deepEqual(answer && addresses(answer), ['203.0.113.9']);
  });

  it('goes on to the next resolver', async () => {
    upstreams = ['127.0.0.2', '127.0.0.1'];
    assert.deepEqual(addresses(await askUdp('example.org')), ['203.0.113.9']);
  });

  it('reports a failure when there is no resolver, and within internal networks', async () => {
    upstreams = [];
    assert.equal(rcode(await askUdp('example.org')), 'SERVFAIL');
    upstreams = ['127.0.0.1'];
    networks = ['closed'];
    assert.equal(rcode(await askUdp('example.org')), 'SERVFAIL');
  });

  it('gives an upstream two seconds', async () => {
    await using silent = new DisposableStack();
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    silent.defer('socket', () => {
      socket.close();
    });
    const clock = new FakeClock();
    const forwarder = new Forwarder(
      { upstreams: () => ['127.0.0.1'], port: socket.address().port },
      { clock },
    );
    const asked = new Promise((resolve) => socket.once('message', resolve));
    const answer = assert.rejects(forwarder.forward(question('x', 'A'), 'udp'), {
      kind: 'unavailable',
    });
    await asked;
    await clock.advance(2000);
    await answer;
    assert.equal(clock.pendingTimers, 0);
  });
});
