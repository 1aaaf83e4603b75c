import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { NetlinkOp } from '../../../linux/ports.js';
import {
  formatIp,
  formatMac,
  parseCidr,
  parseIp,
  parseMac,
} from '../../../linux/netlink/address.js';
import { describeOp } from '../../../linux/netlink/describe.js';
import { encodeOp } from '../../../linux/netlink/encode.js';
import {
  MessageWriter,
  nested,
  parseAttributes,
  parseMessages,
  readString,
  readU32,
} from '../../../linux/netlink/message.js';

const AROUND = { linkIndex: (name: string) => name.length, netnsFd: () => 33 };

describe('netlink messages', () => {
  it('are read back as they were written, in one buffer or many', () => {
    const attribute = fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array());
    const message = fc.record({
      type: fc.integer({ min: 16, max: 0xffff }),
      fixed: fc
        .uint8Array({ minLength: 4, maxLength: 16 })
        .map((b) => b.subarray(0, b.length & ~3)),
      attributes: fc.uniqueArray(attribute, { selector: ([type]) => type, maxLength: 6 }),
    });
    fc.assert(
      fc.property(fc.array(message), (messages) => {
        const bytes = messages.map(({ type, fixed, attributes }, i) => {
          const writer = new MessageWriter(type, 5, Buffer.from(fixed));
          for (const [key, value] of attributes) writer.attribute(key, value);
          return writer.build(i + 1);
        });
        const read = parseMessages(Buffer.concat(bytes));
        assert.equal(read.length, messages.length);
        for (const [i, { type, fixed, attributes }] of messages.entries()) {
          assert.deepEqual([read[i]?.type, read[i]?.flags, read[i]?.sequence], [type, 5, i + 1]);
          const found = parseAttributes(read[i]?.payload ?? Buffer.alloc(0), fixed.length);
          const expected = attributes.map(([key, value]) => [key, Buffer.from(value)] as const);
          assert.deepEqual(new Map(found), new Map(expected));
        }
      }),
    );
  });

  it('never read past the end of what was received', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const { payload } of parseMessages(Buffer.from(bytes))) parseAttributes(payload);
        parseAttributes(Buffer.from(bytes));
      }),
    );
  });

  it('know nested attributes, numbers and strings', () => {
    const bytes = nested([
      [3, Buffer.from('eth0\0')],
      [4, Buffer.from([0xff, 0xff, 0xff, 0xff])],
      [5, undefined],
    ]);
    const attributes = parseAttributes(bytes);
    assert.equal(readString(attributes, 3), 'eth0');
    assert.equal(readU32(attributes, 4), 0xffffffff);
    assert.equal(attributes.has(5), false);
  });
});

describe('netlink requests', () => {
  /** Written by hand from the structures in <linux/netlink.h> and <linux/rtnetlink.h>. */
  const cases: { op: NetlinkOp; hex: string }[] = [
    {
      op: { op: 'address-add', link: 'lo', cidr: '10.1.2.3/24' },
      // nlmsghdr(40, NEWADDR, REQUEST|ACK|EXCL|CREATE) ifaddrmsg(AF_INET, 24, index 2) LOCAL ADDRESS
      hex:
        '28000000140005060100000000000000' +
        '0218000002000000' +
        '080002000a010203' +
        '080001000a010203',
    },
    {
      op: { op: 'link-set', name: 'lo', up: true },
      // ifinfomsg(flags UP, change UP) IFNAME "lo\0" and a byte of padding
      hex:
        '28000000130005000100000000000000' +
        '00000000000000000100000001000000' +
        '070003006c6f0000',
    },
    {
      op: { op: 'neigh-add', link: 'br0', address: '10.0.0.9', mac: '02:42:0a:00:00:09' },
      // ndmsg(AF_INET, index 3, PERMANENT) DST LLADDR and two bytes of padding
      hex:
        '300000001c0005050100000000000000' +
        '020000000300000080000000' +
        '080001000a000009' +
        '0a00020002420a0000090000',
    },
  ];
  for (const { op, hex } of cases) {
    it(describeOp(op), () => assert.equal(encodeOp(op, AROUND).build(1).toString('hex'), hex));
  }

  it('refuse values that are not what they should be', () => {
    const wrong: NetlinkOp[] = [
      { op: 'link-add', kind: 'bridge', name: 'sixteen-letters-' },
      { op: 'link-del', name: '' },
      { op: 'link-del', name: 'a/b' },
      { op: 'address-add', link: 'lo', cidr: '10.0.0.1/-1' },
      { op: 'address-add', link: 'lo', cidr: '10.0.0.1/' },
      { op: 'fdb-add', link: 'vx', mac: '02:42:0a:00:00:09', where: 'self' },
      { op: 'neigh-add', link: 'lo', address: '10.0.0.300', mac: '02:42:0a:00:00:09' },
    ];
    for (const op of wrong) {
      assert.throws(() => encodeOp(op, AROUND), { kind: 'invalid-argument' }, describeOp(op));
    }
  });
});

describe('addresses', () => {
  it('are formatted as they were parsed', () => {
    fc.assert(fc.property(fc.ipV4(), (ip) => assert.equal(formatIp(parseIp(ip)), ip)));
    const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(mac, (bytes) => assert.deepEqual([...parseMac(formatMac(bytes))], [...bytes])),
    );
  });

  it('of IPv6 are read in every form', () => {
    const cases = [
      ['fd00::1', 'fd000000000000000000000000000001'],
      ['::', '0'.repeat(32)],
      ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
      ['fe80::42:aff:fe01:5', 'fe800000000000000042' + '0afffe010005'],
    ] as const;
    for (const [text, hex] of cases) assert.equal(parseIp(text).toString('hex'), hex, text);
    assert.equal(formatIp(parseIp('fd00::1')), 'fd00:0:0:0:0:0:0:1');
  });

  it('may come without a prefix, which then is the full one', () => {
    assert.deepEqual(parseCidr('10.0.0.1').prefix, 32);
    assert.deepEqual(parseCidr('fd00::1').prefix, 128);
    assert.deepEqual(parseCidr('0.0.0.0/0').prefix, 0);
  });
});
