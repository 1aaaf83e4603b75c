import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo } from 'node:net';
import { decode, encode, type DecodedPacket, type RecordType } from 'dns-packet';
import { systemClock } from '../../../../common/adapters/system-clock.js';
import { DisposableStack } from '../../../../common/disposable.js';
import { silentLogger } from '../../../../common/logger.js';
import { FrameReader, toFrame } from '../../../../overlay-net/dns/frames.js';
import type { Client } from '../../../../overlay-net/dns/clients.js';
import { NameService } from '../../../../overlay-net/dns/name-service.js';
import { endpoint, network, service } from '../../../integration/overlay-net/cluster.js';

const state = {
  nodeId: 'n1',
  networks: [network('app', 1), network('closed', 3, { internal: true })],
  endpoints: Array.from({ length: 40 }, (_, n) =>
    endpoint('app', 'n1', n < 2 ? 'api' : 'many', n, `10.128.1.1${n}`),
  ),
  services: [
    service('app', 'api', '10.128.1.2'),
    service('app', 'rr', '', { serviceId: 'api' }),
    service('app', 'many', ''),
  ],
  peers: [],
};

/** Answers every question with 203.0.113.9, by UDP and TCP on one port of 127.0.0.3. */
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
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.3', resolve));
  const { port } = tcp.address() as AddressInfo;
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => {
    // a forged answer first: with another id it must not be taken
    const forged = Buffer.from(answer(message));
    forged.writeUInt16BE((forged.readUInt16BE(0) + 1) & 0xffff, 0);
    udp.send(forged, from.port, from.address);
    udp.send(answer(message), from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, '127.0.0.3', resolve));
  stack.defer('upstream', () => {
    udp.close();
    tcp.close();
  });
  return port;
}

describe('DNS server', () => {
  let stack: DisposableStack;
  let port = 0;
  let client: Client | undefined;
  const upstreams: string[] = [];

  before(async () => {
    stack = new DisposableStack();
    const upstreamPort = await openUpstream(stack);
    port = await freePort();
    const names = stack.use(
      'names',
      new NameService(
        { port, upstreamPort, upstreams },
        {
          clock: systemClock,
          logger: silentLogger,
          containerAt: (address) => (address === '127.0.0.1' ? client : undefined),
        },
      ),
    );
    names.update(state);
    await names.listenAt(new Set(['127.0.0.1']));
  });
  beforeEach(() => {
    client = { networks: ['app'] };
    upstreams.splice(0, upstreams.length, '127.0.0.3');
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
    return sendUdp(question(name, type));
  }

  function sendUdp(message: Buffer): Promise<DecodedPacket> {
    return new Promise((resolve) => {
      const socket = createSocket('udp4');
      socket.on('message', (answer) => {
        socket.close();
        resolve(decode(answer));
      });
      socket.send(message, port, '127.0.0.1');
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
    assert.deepEqual([...first].sort(), ['10.128.1.10', '10.128.1.11']);
  });

  it('has no address of another type, but does not deny the name', async () => {
    for (const type of ['AAAA', 'TXT', 'MX'] as const) {
      const answer = await askUdp('api', type);
      assert.equal(rcode(answer), 'NOERROR');
      assert.deepEqual(answer.answers, []);
    }
    const any = question('api', 'A');
    any.writeUInt16BE(255, any.length - 4);
    assert.deepEqual(addresses(await sendUdp(any)), ['10.128.1.2']);
  });

  it('tells by UDP that there are more addresses, and tells all of them by TCP', async () => {
    const cut = await askUdp('many');
    assert.equal(cut.flag_tc, true);
    const [whole] = await askTcp('many');
    assert.equal(whole && addresses(whole).length, 38);
  });

  it('denies what could only be ours, without asking others', async () => {
    assert.equal(rcode(await askUdp('99.api')), 'NXDOMAIN');
    assert.equal(rcode(await askUdp('99.1.128.10.in-addr.arpa', 'PTR')), 'NXDOMAIN');
  });

  it('asks the resolvers of the host for other names, by the same transport', async () => {
    assert.deepEqual(addresses(await askUdp('example.org')), ['203.0.113.9']);
    const [answer] = await askTcp('example.org');
    assert.deepEqual(answer && addresses(answer), ['203.0.113.9']);
  });

  it('goes on to the next resolver', async () => {
    // one that refuses, and one to which no socket can be connected
    for (const other of ['127.0.0.2', '255.255.255.255']) {
      upstreams.splice(0, upstreams.length, other, '127.0.0.3');
      assert.deepEqual(addresses(await askUdp('example.org')), ['203.0.113.9'], other);
    }
  });

  it('asks the resolvers of the container instead, where it has any', async () => {
    upstreams.splice(0);
    client = { networks: ['app'], upstreams: ['127.0.0.3'] };
    assert.deepEqual(addresses(await askUdp('example.org')), ['203.0.113.9']);
    client = { networks: ['app'], upstreams: [] };
    assert.equal(rcode(await askUdp('example.org')), 'SERVFAIL');
  });

  it('reports a failure when there is no resolver, and within internal networks', async () => {
    client = { networks: ['closed'] };
    assert.equal(rcode(await askUdp('example.org')), 'SERVFAIL');
    client = { networks: ['app'] };
    upstreams.splice(0);
    assert.equal(rcode(await askUdp('example.org')), 'SERVFAIL');
  });

  it('never asks itself', async () => {
    upstreams.splice(0, 1, '127.0.0.1');
    assert.equal(rcode(await askUdp('example.org')), 'SERVFAIL');
  });

  it('says nothing to who is on none of the networks, and nothing to what is no question', async () => {
    const stranger = createSocket('udp4');
    let answers = 0;
    stranger.on('message', () => answers++);
    await new Promise<void>((resolve) => stranger.bind({ address: '127.0.0.9' }, resolve));
    const send = (message: Buffer): Promise<void> =>
      new Promise((resolve) => stranger.send(message, port, '127.0.0.1', () => resolve()));
    await send(question('api', 'A'));
    await send(Buffer.alloc(3));
    await askUdp('api'); // questions are taken in their order
    assert.equal(answers, 0);
    stranger.close();
  });
});
