import assert from 'node:assert/strict';
import { decode, encode, type Question } from 'dns-packet';
import fc from 'fast-check';
import { FrameReader, toFrame } from '../../../../overlay-net/dns/frames.js';
import { formatAnswer, parseQuery, RCODE } from '../../../../overlay-net/dns/message.js';
import { parseNameservers } from '../../../../overlay-net/dns/resolv-conf.js';

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

describe('DNS messages', () => {
  it('answer with addresses that any decoder reads, the question as it was asked', () => {
    const query = parseQuery(ask({ name: 'Tasks.Api', type: 'A' }));
    const records = ['10.0.0.1', '10.0.255.7'].map((address) => ({
      type: 'A' as const,
      address,
      ttlSeconds: 0,
    }));
    const answer = decode(formatAnswer(query, records));
    assert.equal(answer.id, 4711);
    assert.equal(answer.flag_qr && answer.flag_aa && answer.flag_rd && answer.flag_ra, true);
    assert.equal(answer.questions?.[0]?.name, 'Tasks.Api');
    assert.deepEqual(
      answer.answers?.map((a) => (a.type === 'A' ? `${a.name} ${a.data}` : '')),
      ['Tasks.Api 10.0.0.1', 'Tasks.Api 10.0.255.7'],
    );
  });

  it('answer names', () => {
    const query = parseQuery(ask({ name: '7.1.0.10.in-addr.arpa', type: 'PTR' }));
    const record = { type: 'PTR', name: 'web.1.abc', ttlSeconds: 0 } as const;
    const [answer] = decode(formatAnswer(query, [record])).answers ?? [];
    assert.equal(answer?.type === 'PTR' ? answer.data : undefined, 'web.1.abc');
  });

  it('hold 30 addresses in 512 bytes, and say when there were more', () => {
    const records = Array.from({ length: 40 }, (_, i) => ({
      type: 'A' as const,
      address: `10.0.0.${i}`,
      ttlSeconds: 0,
    }));
    const query = parseQuery(ask({ name: 'tasks.api', type: 'A' }));
    const whole = formatAnswer(query, records.slice(0, 30), { maxBytes: query.udpBytes });
    assert.equal(decode(whole).flag_tc, false);
    const cut = formatAnswer(query, records, { maxBytes: query.udpBytes });
    assert.ok(cut.length <= 512);
    assert.equal(decode(cut).flag_tc, true);
    const edns = parseQuery(ask({ name: 'tasks.api', type: 'A' }, 1232));
    const large = decode(formatAnswer(edns, records, { maxBytes: edns.udpBytes }));
    assert.equal(large.answers?.length, 40);
    assert.equal(large.additionals?.[0]?.type, 'OPT');
  });

  it('say failure', () => {
    const query = parseQuery(ask({ name: 'x', type: 'AAAA' }));
    const answer = formatAnswer(query, [], { rcode: RCODE.serverFailure });
    assert.equal((answer[3] ?? 0) & 15, 2);
    assert.equal(decode(answer).flag_aa, false);
  });

  it('never crash the reader', () => {
    const parts = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.tuple(fc.nat(30), fc.nat(255)).map(([at, byte]) => {
        const message = ask({ name: 'tasks.api', type: 'A' });
        message[at % message.length] = byte;
        return new Uint8Array(message);
      }),
    );
    fc.assert(
      fc.property(parts, (bytes) => {
        try {
          const query = parseQuery(Buffer.from(bytes));
          assert.ok(query.questionEnd <= bytes.length);
        } catch (error) {
          assert.equal((error as { kind?: string }).kind, 'invalid-argument');
        }
      }),
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
