import assert from 'node:assert/strict';
import { decode, encode, type Question } from 'dns-packet';
import fc from 'fast-check';
import { FrameReader, toFrame } from '../../../../overlay-net/dns/frames.js';
import { formatAnswer, type AnswerRecord } from '../../../../overlay-net/dns/answer.js';
import {
  parseOrdinary,
  parseQuery,
  parseUnusual,
  type Query,
} from '../../../../overlay-net/dns/query.js';
import { parseNameservers } from '../../../../overlay-net/dns/resolv-conf.js';
import { RCODE } from '../../../../overlay-net/dns/wire.js';

const ask = (question: Question, udpPayloadSize?: number): Buffer =>
  encode({
    type: 'query',
    id: 4711,
    flags: 0x100,
    questions: [question],
    additionals:
      udpPayloadSize === undefined
        ? []
        : [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
  });

const read = (message: Uint8Array): Query =>
  parseQuery(Buffer.from(message)) ?? assert.fail('not taken for a question');
const records = (count: number): AnswerRecord[] =>
  Array.from({ length: count }, (_, i) => ({ type: 'A', address: `10.0.0.${i}` }));
const rcodeOf = (answer: Buffer): number => (answer[3] ?? 0) & 15;

/** A question with some of its bytes written over, and bytes behind it. */
const damaged = fc
  .record({
    name: fc.constantFrom('tasks.api', 'a', '', 'x'.repeat(63), `${'y'.repeat(60)}.`.repeat(4)),
    type: fc.constantFrom('A', 'AAAA', 'PTR', 'AXFR', 'ANY'),
    edns: fc.option(fc.nat(65535), { nil: undefined }),
    damage: fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 3 }),
    tail: fc.uint8Array({ maxLength: 3 }),
  })
  .map(({ name, type, edns, damage, tail }) => {
    const message = Buffer.concat([ask({ name, type: type as 'A' }, edns), tail]);
    for (const [at, byte] of damage) message[at % message.length] = byte;
    return new Uint8Array(message);
  });
const anyBytes = fc.oneof(fc.uint8Array({ maxLength: 64 }), damaged);

describe('DNS messages', () => {
  it('answer with addresses that any decoder reads, the question as it was asked', () => {
    const query = read(ask({ name: 'Tasks.Api', type: 'A' }));
    assert.equal(query.name, 'Tasks.Api');
    const addresses = ['10.0.0.1', '10.0.255.7'];
    const answer = decode(
      formatAnswer(
        query,
        addresses.map((address) => ({ type: 'A', address })),
      ),
    );
    assert.equal(answer.id, 4711);
    assert.equal(answer.flag_qr && answer.flag_aa && answer.flag_rd && answer.flag_ra, true);
    assert.equal(answer.questions?.[0]?.name, 'Tasks.Api');
    assert.deepEqual(
      answer.answers?.map((a) => (a.type === 'A' ? `${a.name} ${a.data} ${a.ttl}` : '')),
      addresses.map((address) => `Tasks.Api ${address} 0`),
    );
  });

  it('answer names', () => {
    const query = read(ask({ name: '7.1.0.10.in-addr.arpa', type: 'PTR' }));
    const [answer] =
      decode(formatAnswer(query, [{ type: 'PTR', name: 'web.1.abc' }])).answers ?? [];
    assert.equal(answer?.type === 'PTR' ? answer.data : undefined, 'web.1.abc');
  });

  it('hold 30 addresses in 512 bytes, and say when there were more', () => {
    const query = read(ask({ name: 'tasks.api', type: 'A' }));
    const whole = formatAnswer(query, records(30), { maxBytes: query.udpBytes });
    assert.equal(decode(whole).flag_tc, false);
    const cut = formatAnswer(query, records(40), { maxBytes: query.udpBytes });
    assert.ok(cut.length <= 512 && cut.length > 490);
    assert.equal(decode(cut).flag_tc, true);
    const edns = read(ask({ name: 'tasks.api', type: 'A' }, 1232));
    const large = decode(formatAnswer(edns, records(40), { maxBytes: edns.udpBytes }));
    assert.equal(large.answers?.length, 40);
    assert.equal(large.additionals?.[0]?.type, 'OPT');
  });

  it('take as much by UDP as the asker says, from 512 to 4096 bytes', () => {
    const taken = [undefined, 1, 511, 1232, 65535].map(
      (size) => read(ask({ name: 'a', type: 'A' }, size)).udpBytes,
    );
    assert.deepEqual(taken, [512, 512, 512, 1232, 4096]);
  });

  it('say failure', () => {
    const query = read(ask({ name: 'x', type: 'AAAA' }));
    const answer = formatAnswer(query, [], { rcode: RCODE.serverFailure });
    assert.equal(rcodeOf(answer), RCODE.serverFailure);
    assert.equal(decode(answer).flag_aa, false);
  });

  const changed = (change: (message: Buffer) => void, edns?: number): Buffer => {
    const message = ask({ name: 'api', type: 'A' }, edns);
    change(message);
    return message;
  };
  const wrong: [what: string, message: Buffer, rcode: number][] = [
    ['class CHAOS', ask({ name: 'version.bind', type: 'TXT', class: 'CH' }), RCODE.refused],
    ['a transfer of a zone', ask({ name: 'api', type: 'AXFR' }), RCODE.refused],
    ['an update', changed((m) => m.writeUInt8(5 << 3, 2)), RCODE.notImplemented],
    ['no question', changed((m) => m.writeUInt16BE(0, 4)), RCODE.formatError],
    [
      'two questions',
      encode({
        type: 'query',
        questions: [
          { name: 'a', type: 'A' },
          { name: 'b', type: 'A' },
        ],
      }),
      RCODE.formatError,
    ],
    ['a compressed name', changed((m) => m.writeUInt16BE(0xc00c, 12)), RCODE.formatError],
    ['a label past the end', changed((m) => m.writeUInt8(60, 12)), RCODE.formatError],
    [
      'a name of more than 255 bytes',
      ask({ name: Array.from({ length: 5 }, () => 'z'.repeat(60)).join('.'), type: 'A' }),
      RCODE.formatError,
    ],
  ];
  for (const [what, message, rcode] of wrong) {
    it(`are answered with an error for ${what}`, () => {
      const query = read(message);
      assert.equal(query.fault, rcode);
      const answer = formatAnswer(query, [], { rcode: query.fault });
      assert.equal(rcodeOf(answer), rcode);
      assert.equal(decode(answer).id, message.readUInt16BE(0));
    });
  }

  it('say which version of EDNS is known, to who uses another', () => {
    const query = read(changed((m) => m.writeUInt8(1, m.length - 5), 1232));
    assert.equal(query.fault, RCODE.badVersion);
    const answer = formatAnswer(query, [], { rcode: query.fault });
    assert.equal(rcodeOf(answer), 0);
    const [opt] = decode(answer).additionals ?? [];
    assert.equal(opt?.type === 'OPT' ? opt.extendedRcode : undefined, 1);
    assert.equal(opt?.type === 'OPT' ? opt.ednsVersion : undefined, 0);
  });

  it('that ask nothing are not answered', () => {
    assert.equal(parseQuery(Buffer.alloc(11)), undefined);
    assert.equal(parseQuery(changed((m) => m.writeUInt8(0x80, 2))), undefined);
  });

  it('are read the same by the short way and by the full decoder', () => {
    let short = 0;
    fc.assert(
      fc.property(damaged, (bytes) => {
        const message = Buffer.from(bytes);
        const query = parseOrdinary(message);
        if (query === undefined) return;
        short++;
        assert.deepEqual(query, parseUnusual(message));
      }),
      { numRuns: 1000 },
    );
    assert.ok(short > 50, `${short} messages went the short way`);
  });

  it('are answered whatever they are, with no more than was asked for', () => {
    fc.assert(
      fc.property(anyBytes, fc.nat(50), (bytes, count) => {
        const message = Buffer.from(bytes);
        const query = message.length < 12 ? undefined : parseQuery(message);
        if (query === undefined) return;
        assert.ok(query.questionEnd <= message.length);
        const answer = formatAnswer(query, records(count), { maxBytes: query.udpBytes });
        assert.ok(answer.length <= Math.max(query.udpBytes, query.questionEnd + 11));
        if (query.fault === RCODE.ok) decode(answer);
      }),
      { numRuns: 500 },
    );
  });

  it('are cut out of any chunks of a stream', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 50 }),
        (messages, size) => {
          const stream = Buffer.concat(messages.map((m) => toFrame(Buffer.from(m))));
          const reader = new FrameReader();
          const read: Buffer[] = [];
          for (let i = 0; i < stream.length; i += size) {
            read.push(...reader.push(stream.subarray(i, i + size)));
          }
          assert.deepEqual(
            read.map((f) => [...f]),
            messages.map((m) => [...m]),
          );
        },
      ),
    );
  });

  it('go to the resolvers of the host', () => {
    const text = '# nameserver 9.9.9.9\nnameserver 192.0.2.1\nsearch x\nnameserver fe80::1%eth0\n';
    assert.deepEqual(parseNameservers(text), ['192.0.2.1', 'fe80::1%eth0']);
    assert.deepEqual(parseNameservers('nameserver resolver.example'), []);
  });
});
