import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { decode, encode, type DecodedPacket, type OptAnswer, type RecordType } from 'dns-packet';
import type { NetworkState, Sandbox, SandboxConfig } from '../../../overlay-net/driver.js';
import { NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, network, peers, service } from './cluster.js';

/** Resolvers on port 53 of each address given, which answer everything with that address. */
const RESOLVERS = `
const answer = (m, address) => {
  const end = m.indexOf(0, 12) + 5;
  const head = Buffer.from(m.subarray(0, end));
  head[2] |= 0x80; head.writeUInt16BE(1, 6); head.writeUInt32BE(0, 8);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)]);
  return Buffer.concat([head, record]);
};
const [, ...addresses] = process.argv;
let missing = 2 * addresses.length;
const ready = () => { if (--missing === 0) console.log('ready'); };
for (const address of addresses) {
  const u = require('dgram').createSocket('udp4');
  u.on('message', (m, from) => u.send(answer(m, address), from.port, from.address));
  u.bind(53, address, ready);
  require('net').createServer((s) => s.on('data', (d) => {
    const a = answer(d.subarray(2), address);
    s.write(Buffer.concat([Buffer.from([a.length >> 8, a.length & 255]), a]));
  })).listen(53, address, ready);
}`;

/** Sends a message, in hexadecimal digits, and prints what comes back. */
const DIG = `
const [, transport, server, hex] = process.argv;
const message = Buffer.from(hex, 'hex');
const done = (m) => { console.log(m.toString('hex')); process.exit(0); };
setTimeout(() => process.exit(1), 8000);
if (transport === 'udp') {
  const u = require('dgram').createSocket('udp4');
  u.on('message', done).send(message, 53, server);
} else {
  const s = require('net').connect(53, server);
  let all = Buffer.alloc(0);
  s.on('data', (d) => {
    all = Buffer.concat([all, d]);
    if (all.length > 2 && all.length >= 2 + all.readUInt16BE(0)) done(all.subarray(2));
  });
  s.write(Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]));
}`;

const CROWD = 60;

function edns(udpPayloadSize: number): OptAnswer {
  return {
    ...{ type: 'OPT', name: '.', udpPayloadSize, extendedRcode: 0 },
    ...{ ednsVersion: 0, flags: 0, flag_do: false, options: [] },
  };
}

/** Sends a message from UDP port 0, where no answer can go. */
const FORGE = `
use Socket;
my ($server, $hex) = @ARGV;
my $message = pack('H*', $hex);
socket(my $s, AF_INET, SOCK_RAW, 17) or die;
send($s, pack('nnnn', 0, 53, 8 + length $message, 0) . $message, 0, pack_sockaddr_in(0, inet_aton($server))) or die;
print 'sent';`;

/** What containers hear when they ask the gateways, on one host of two. */
describe('names on the networks', function () {
  let lab: NetLab;
  let host: LabHost;
  let resolvers: ChildProcess | undefined;
  let close = (): Promise<void> => Promise.resolve();
  const boxes = new Map<string, Sandbox>();
  const state: Omit<NetworkState, 'nodeId'> = {
    networks: [network('app', 1), network('back', 2), network('closed', 3, { internal: true })],
    endpoints: [
      ...Array.from({ length: CROWD }, (_, i) =>
        endpoint('app', i % 2 === 0 ? 'n1' : 'n2', 'crowd', i + 1, `10.128.1.${100 + i}`),
      ),
      { ...endpoint('back', 'n2', '', 0, '10.128.2.20'), name: 'web', taskId: 'f00d'.repeat(16) },
    ],
    services: [
      service('app', 'shop_web', '10.128.1.2', { aliases: ['web'] }),
      service('app', 'crowd', ''),
      service('closed', 'db', '10.128.3.2'),
    ],
    peers: [],
  };

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'nft', 'nsenter', 'perl']) requiresCommand(this, command);
    lab = new NetLab();
    close = () => lab.close();
    host = await lab.addHost();
    await host.apply({ ...state, peers: peers(lab.hosts) });
    await runIn(
      `/run/netns/${lab.client}`,
      ...['ip', 'address', 'add', '192.0.2.51/24', 'dev', 'eth0'],
    );
    resolvers = await startResolvers('192.0.2.50', '192.0.2.51');
    await attach('both', ['10.128.2.10', '10.128.1.10']);
    await attach('own', ['10.128.1.11'], { upstreams: ['192.0.2.51'] });
    await attach('inside', ['10.128.3.10']);
  });
  after(async () => {
    resolvers?.kill('SIGKILL');
    await close();
  });

  async function startResolvers(...addresses: string[]): Promise<ChildProcess> {
    const args = [`--net=/run/netns/${lab.client}`, process.execPath, '-e', RESOLVERS];
    const child = spawn('nsenter', [...args, ...addresses], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`resolvers ended with ${code}`)));
    });
    return child;
  }

  async function attach(
    id: string,
    addresses: string[],
    dns?: SandboxConfig['dns'],
  ): Promise<void> {
    const networkOf: Record<string, string> = { '1': 'app', '2': 'back', '3': 'closed' };
    const attachments = addresses.map((address) => ({
      networkId: networkOf[address.split('.')[2] ?? ''] ?? '',
      address: `${address}/24`,
    }));
    const config = { id, attachments, hostPorts: [], ...(dns === undefined ? {} : { dns }) };
    boxes.set(id, await host.attach(config));
  }

  async function dig(
    from: string,
    name: string,
    how: { type?: RecordType; transport?: string; udpPayloadSize?: number } = {},
  ): Promise<DecodedPacket> {
    const { netnsPath, nameservers } = boxes.get(from) ?? assert.fail(`no ${from}`);
    const { type = 'A', transport = 'udp', udpPayloadSize = 0 } = how;
    const message = encode({
      ...{ type: 'query', id: 99, flags: 0x100, questions: [{ name, type }] },
      additionals: udpPayloadSize === 0 ? [] : [edns(udpPayloadSize)],
    });
    const args = [transport, nameservers[0] ?? '', message.toString('hex')];
    const hex = await runIn(netnsPath, process.execPath, '-e', DIG, ...args);
    assert.match(hex, /^[0-9a-f]{24,}$/, `no answer to ${from} for ${name}`);
    return decode(Buffer.from(hex, 'hex'));
  }

  const addresses = ({ answers = [] }: DecodedPacket): string[] =>
    answers.flatMap((a) => (a.type === 'A' ? [a.data] : [])).sort();
  const rcode = (packet: DecodedPacket): unknown => (packet as { rcode?: unknown }).rcode;

  it('are of the networks of who asks; the first of them that knows a name answers', async () => {
    assert.deepEqual(addresses(await dig('both', 'web')), ['10.128.2.20']);
    assert.deepEqual(addresses(await dig('both', 'web.app')), ['10.128.1.2']);
    assert.deepEqual(addresses(await dig('own', 'web')), ['10.128.1.2']);
    assert.deepEqual(addresses(await dig('both', 'f00df00df00d')), ['10.128.2.20']);
    assert.deepEqual(addresses(await dig('inside', 'db')), ['10.128.3.2']);
  });

  it('come back as they were written, also to who mixes large and small letters', async () => {
    const answer = await dig('own', 'wEb');
    assert.equal(answer.questions?.[0]?.name, 'wEb');
    assert.deepEqual(addresses(answer), ['10.128.1.2']);
    const { answers = [] } = await dig('own', '2.1.128.10.in-addr.arpa', { type: 'PTR' });
    assert.deepEqual(
      answers.map((a) => (a.type === 'PTR' ? a.data : '')),
      ['shop_web.app'],
    );
  });

  it('lead to all tasks by TCP or EDNS, where a short message does not hold them', async () => {
    const cut = await dig('own', 'tasks.crowd');
    assert.equal(cut.flag_tc, true);
    assert.ok(addresses(cut).length < CROWD);
    for (const how of [{ transport: 'tcp' }, { udpPayloadSize: 1232 }]) {
      const whole = await dig('own', 'tasks.crowd', how);
      assert.equal(whole.flag_tc, false);
      assert.equal(addresses(whole).length, CROWD);
    }
  });

  it('that are not ours are asked of the host’s resolvers, or of the container’s own', async () => {
    for (const transport of ['udp', 'tcp']) {
      const name = 'example.org';
      assert.deepEqual(addresses(await dig('both', name, { transport })), ['192.0.2.50']);
      assert.deepEqual(addresses(await dig('own', name, { transport })), ['192.0.2.51']);
    }
    assert.equal(rcode(await dig('inside', 'example.org')), 'SERVFAIL');
  });

  it('that are ours have no addresses of another kind, and nobody else is asked', async () => {
    const answer = await dig('own', 'crowd', { type: 'AAAA' });
    assert.equal(rcode(answer), 'NOERROR');
    assert.deepEqual(answer.answers, []);
    assert.equal(rcode(await dig('own', '99.crowd')), 'NXDOMAIN');
  });

  it('go on being answered after questions from where no answer can go', async () => {
    const { netnsPath, nameservers } = boxes.get('both') ?? assert.fail();
    for (const name of ['web', 'example.org']) {
      const message = encode({ type: 'query', questions: [{ name, type: 'A' }] });
      const args = ['-e', FORGE, nameservers[0] ?? '', message.toString('hex')];
      assert.equal(await runIn(netnsPath, 'perl', ...args), 'sent');
    }
    assert.deepEqual(addresses(await dig('both', 'web')), ['10.128.2.20']);
    assert.deepEqual(addresses(await dig('both', 'example.org')), ['192.0.2.50']);
  });

  it('lead nowhere else from the moment a task leaves', async () => {
    const endpoints = state.endpoints.map((e) => ({ ...e, ready: e.slot === 7 }));
    await host.apply({ ...state, endpoints, peers: peers(lab.hosts) });
    assert.deepEqual(addresses(await dig('own', 'crowd')), ['10.128.1.106']);
    const gone = await dig('own', '8.crowd');
    assert.equal(rcode(gone), 'NOERROR');
    assert.deepEqual(gone.answers, []);
  });

  it('are answered by the next process too, which knows whose resolvers are whose', async () => {
    await host.stop();
    await host.start();
    await host.apply({ ...state, peers: peers(lab.hosts) });
    assert.deepEqual(addresses(await dig('both', 'web')), ['10.128.2.20']);
    assert.deepEqual(addresses(await dig('own', 'example.org')), ['192.0.2.51']);
  });

  it('that are ours are known when no resolver answers; the others fail soon', async () => {
    const exited = new Promise((resolve) => resolvers?.once('exit', resolve));
    resolvers?.kill('SIGKILL');
    await exited;
    assert.equal(rcode(await dig('both', 'example.org')), 'SERVFAIL');
    assert.deepEqual(addresses(await dig('both', 'web.app')), ['10.128.1.2']);
  });
});
