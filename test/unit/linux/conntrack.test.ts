import assert from 'node:assert/strict';
import fc from 'fast-check';
import { encodeDelete, encodeDump } from '../../../linux/conntrack/encode.js';
import { FlowEntry } from '../../../linux/conntrack/decode.js';
import { replySource, toMatcher } from '../../../linux/conntrack/match.js';
import { RecordingKernel } from '../../support/recording-kernel.js';
import { describeConntrack } from './conntrack.suite.js';

describeConntrack('in memory', () => {
  const kernel = new RecordingKernel();
  const netns = '/run/ht/conntrack';
  return Promise.resolve({
    kernel,
    netns,
    makeFlows: (flows) => {
      kernel.network(netns).flows.push(...flows);
      return Promise.resolve();
    },
    close: () => kernel[Symbol.asyncDispose](),
  });
});

/** An entry as the kernel sent it: TCP 10.1.0.1:1025 to 10.0.0.2:80, answered by 10.0.0.6:8080. */
const ENTRY = Buffer.from(
  [
    '02000000', // AF_INET
    '34000180', // CTA_TUPLE_ORIG
    '14000180 080001000a010001 080002000a000002', // its addresses
    '1c000280 0500010006000000 0600020004010000 0600030000500000', // TCP and its ports
    '34000280', // CTA_TUPLE_REPLY
    '14000180 080001000a000006 080002000a010001',
    '1c000280 0500010006000000 060002001f900000 0600030004010000',
    '080003000000000e', // CTA_STATUS
    '080007000000012c', // CTA_TIMEOUT
    '10000480 0c000180 0500010003000000', // CTA_PROTOINFO: established
    '0800080000020001', // CTA_MARK
    '08000c00deadbeef', // CTA_ID
    '0600120000070000', // CTA_ZONE
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);

describe('conntrack messages', () => {
  it('ask for all of IPv4, or for what one address answers', () => {
    // nlmsghdr(20, CT_GET, REQUEST|DUMP, 1) nfgenmsg(AF_INET)
    assert.equal(
      encodeDump().build(1).toString('hex'),
      '14000000010101030100000000000000' + '02000000',
    );
    assert.equal(
      encodeDump({ protocol: 17 }).build(1).toString('hex'),
      '38000000010101030100000000000000' +
        '02000000' +
        '10000280' + // CTA_TUPLE_REPLY
        '0c0002800500010011000000' + // CTA_TUPLE_PROTO, CTA_PROTO_NUM
        '14001980' +
        '0800010000000000' +
        '0800020008000000', // reply flags: the protocol
    );
    assert.equal(
      encodeDump({ source: '10.0.0.6' }).build(1).toString('hex'),
      '38000000010101030100000000000000' +
        '02000000' +
        '10000280' + // CTA_TUPLE_REPLY
        '0c000180080001000a000006' + // CTA_TUPLE_IP, CTA_IP_V4_SRC
        '14001980' + // CTA_FILTER
        '0800010000000000' + // orig flags: none
        '0800020001000000', // reply flags: the source
    );
  });

  it('delete an entry by its own tuple, id and zone', () => {
    const message = encodeDelete(new FlowEntry(ENTRY).key).build(9).toString('hex');
    assert.match(message, /^........02010500090000000000000002000000/, 'CT_DELETE, REQUEST|ACK');
    assert.equal(message.includes(ENTRY.subarray(4, 56).toString('hex')), true, 'the tuple');
    assert.match(message, /08000c00deadbeef0600120000070000$/);
  });

  it('are read as the kernel writes them', () => {
    assert.deepEqual(new FlowEntry(ENTRY).decode(), {
      protocol: 'tcp',
      state: 'established',
      original: {
        source: '10.1.0.1',
        destination: '10.0.0.2',
        sourcePort: 1025,
        destinationPort: 80,
      },
      reply: {
        source: '10.0.0.6',
        destination: '10.1.0.1',
        sourcePort: 8080,
        destinationPort: 1025,
      },
      mark: 0x20001,
      zone: 7,
    });
    assert.equal(replySource(ENTRY), 0x0a000006);
  });

  it('are matched by what they say', () => {
    const matches = (filter: Parameters<typeof toMatcher>[0]): boolean => toMatcher(filter)(ENTRY);
    assert.equal(matches({ reached: ['10.0.0.6'], protocols: ['tcp'], isOpen: true }), true);
    assert.equal(matches({ reached: ['10.0.0.5'] }), false);
    assert.equal(matches({ reached: ['10.0.0.6'], protocols: ['udp'] }), false);
    assert.equal(matches({ reached: { within: ['0.0.0.0/0'], except: ['10.0.0.6'] } }), false);
  });

  it('are not matched by what is no address', () => {
    assert.throws(() => toMatcher({ reached: ['10.0.1'] }), { kind: 'invalid-argument' });
  });

  it('that are cut off or garbage match nothing they do not say, and harm nobody', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b)),
      fc.nat(ENTRY.length - 1).map((length) => ENTRY.subarray(0, length)),
    );
    const isReached = toMatcher({ reached: ['203.0.113.77'], isOpen: true });
    fc.assert(
      fc.property(bytes, (entry) => {
        assert.equal(isReached(entry), false);
        new FlowEntry(entry).decode();
      }),
    );
  });
});
