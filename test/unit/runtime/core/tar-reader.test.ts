import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  parsePaxRecords,
  parseTarHeader,
  type TarEntry,
} from '../../../../runtime/core/tar-header.js';
import { TarReader } from '../../../../runtime/core/tar-reader.js';
import { makeTar, type TarFile } from '../../../support/image-fixtures.js';

interface ReadEntry extends TarEntry {
  content: Buffer;
}

/** Reads a tar that arrives in pieces of `pieceBytes`. */
function readTar(bytes: Uint8Array, pieceBytes = bytes.length || 1): ReadEntry[] {
  const reader = new TarReader();
  const entries: ReadEntry[] = [];
  let content: Buffer[] = [];
  let current: TarEntry | undefined;
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    for (const event of reader.push(bytes.subarray(at, at + pieceBytes))) {
      if (event.type === 'entry') [current, content] = [event.entry, []];
      else if (event.type === 'content') content.push(Buffer.from(event.bytes));
      else if (current !== undefined) entries.push({ ...current, content: Buffer.concat(content) });
    }
  }
  reader.end();
  return entries;
}

/** A raw header block; numbers in octal, the checksum made right. */
function block(fields: {
  name?: string;
  type?: string;
  size?: string | Buffer;
  magic?: string;
  prefix?: string;
}): Buffer {
  const header = Buffer.alloc(512);
  header.write(fields.name ?? 'f', 0, 'latin1');
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  if (Buffer.isBuffer(fields.size)) fields.size.copy(header, 124);
  else header.write(fields.size ?? '00000000000\0', 124);
  header.write('00000000000\0', 136);
  header.write(fields.type ?? '0', 156);
  header.write(fields.magic ?? 'ustar\x0000', 257, 'latin1');
  header.write(fields.prefix ?? '', 345);
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

function withContent(header: Buffer, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  let length = rest.length;
  while (String(length).length + rest.length !== length)
    length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function pax(...records: Buffer[]): Buffer {
  const content = Buffer.concat(records);
  return withContent(block({ type: 'x', size: `${content.length.toString(8)}\0` }), content);
}

const END = Buffer.alloc(1024);

describe('reading tars', () => {
  const segment = fc.stringMatching(/^[a-zäß€0-9._-]{1,60}$/);
  const file: fc.Arbitrary<TarFile> = fc.record({
    name: fc.array(segment, { minLength: 1, maxLength: 5 }).map((s) => s.join('/')),
    mode: fc.integer({ min: 1, max: 0o7777 }), // tar-stream packs 0644 for 0
    uid: fc.integer({ min: 0, max: 0o777777 }), // what tar-stream can pack
    gid: fc.integer({ min: 0, max: 0o777777 }),
    mtime: fc.integer({ min: 0, max: 2_000_000_000 }).map((s) => new Date(s * 1000)),
    content: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
  });

  it('gives back what another program packed, in whatever pieces it arrives', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(file, { maxLength: 6 }),
        fc.integer({ min: 1, max: 3000 }),
        async (files, pieceBytes) => {
          const entries = readTar(await makeTar(files), pieceBytes);
          assert.deepEqual(
            entries.map((e) => ({
              name: Buffer.from(e.name, 'latin1').toString(),
              mode: e.mode,
              uid: e.uid,
              gid: e.gid,
              mtimeMs: e.mtimeMs,
              content: e.content.toString('hex'),
            })),
            files.map((f) => ({
              name: f.name,
              mode: f.mode,
              uid: f.uid,
              gid: f.gid,
              mtimeMs: f.mtime?.getTime(),
              content: Buffer.from(f.content ?? '').toString('hex'),
            })),
          );
        },
      ),
      { numRuns: 150 },
    );
  });

  it('never fails otherwise than by saying that the tar is malformed', () => {
    const noise = fc.tuple(
      fc.uint8Array({ minLength: 512, maxLength: 2048 }),
      fc.nat(511),
      fc.nat(255),
    );
    fc.assert(
      fc.property(noise, ([bytes, at, value]) => {
        const damaged = Buffer.concat([withContent(block({ size: '10\0' }), 'contents'), END]);
        damaged[at] = value;
        for (const tar of [bytes, damaged]) {
          try {
            readTar(tar, 100);
          } catch (error) {
            assert.equal((error as { kind?: string }).kind, 'invalid-argument');
          }
        }
      }),
    );
  });

  it('knows every kind of entry', async () => {
    const entries = readTar(
      await makeTar([
        { name: 'd/', type: 'directory' },
        { name: 's', type: 'symlink', linkname: '../x' },
        { name: 'h', type: 'link', linkname: 'f' },
        { name: 'c', type: 'character-device', devmajor: 1, devminor: 3 },
        { name: 'b', type: 'block-device', devmajor: 8, devminor: 1 },
        { name: 'p', type: 'fifo' },
      ]),
    );
    assert.deepEqual(
      entries.map((e) => [e.kind, e.linkName, e.major, e.minor]),
      [
        ['directory', '', 0, 0],
        ['symlink', '../x', 0, 0],
        ['hardlink', 'f', 0, 0],
        ['character-device', '', 1, 3],
        ['block-device', '', 8, 1],
        ['fifo', '', 0, 0],
      ],
    );
  });

  const oneEntry: { name: string; tar: Buffer; expected: Partial<ReadEntry> }[] = [
    {
      name: 'a ustar prefix',
      tar: block({ name: 'f', prefix: 'a/b' }),
      expected: { name: 'a/b/f' },
    },
    {
      name: "GNU's magic, where the prefix means something else",
      tar: block({ name: 'f', magic: 'ustar  \0', prefix: 'times' }),
      expected: { name: 'f' },
    },
    {
      name: 'a directory by its slash',
      tar: block({ name: 'd/' }),
      expected: { kind: 'directory' },
    },
    {
      name: "GNU's long name and long link",
      tar: Buffer.concat([
        withContent(block({ type: 'L', size: `${(301).toString(8)}\0` }), `${'n'.repeat(300)}\0`),
        withContent(block({ type: 'K', size: `${(201).toString(8)}\0` }), `${'l'.repeat(200)}\0`),
        block({ type: '2' }),
      ]),
      expected: { name: 'n'.repeat(300), linkName: 'l'.repeat(200), kind: 'symlink' },
    },
    {
      name: 'PAX before GNU before the header, for a name',
      tar: Buffer.concat([
        withContent(block({ type: 'L', size: '3\0' }), 'gnu'),
        pax(paxRecord('path', 'pax'), paxRecord('uid', '70000'), paxRecord('mtime', '1.5')),
        block({ name: 'header' }),
      ]),
      expected: { name: 'pax', uid: 70_000, mtimeMs: 1500 },
    },
    {
      name: 'a time before 1970, to the nanosecond',
      tar: Buffer.concat([pax(paxRecord('mtime', '-1.2500000019')), block({})]),
      expected: { mtimeNs: -1_250_000_001n },
    },
    {
      name: 'attributes as libarchive writes them',
      tar: Buffer.concat([
        pax(
          paxRecord('LIBARCHIVE.xattr.user.a%3db', 'AP8='),
          paxRecord('LIBARCHIVE.xattr.user.c', 'bm90'),
          paxRecord('SCHILY.xattr.user.c', 'this'),
        ),
        block({}),
      ]),
      expected: {
        xattrs: new Map([
          ['user.a=b', new Uint8Array([0, 255])],
          ['user.c', new Uint8Array(Buffer.from('this'))],
        ]),
      },
    },
    {
      name: 'a size in PAX',
      tar: Buffer.concat([pax(paxRecord('size', '5')), withContent(block({}), 'hello')]),
      expected: { content: Buffer.from('hello') },
    },
    {
      name: 'a size in base 256',
      tar: withContent(block({ size: Buffer.from('800000000000000000000005', 'hex') }), 'hello'),
      expected: { content: Buffer.from('hello') },
    },
    {
      name: 'bytes in an attribute that are no UTF-8',
      tar: Buffer.concat([
        pax(paxRecord('SCHILY.xattr.security.capability', Buffer.from([1, 0, 0x80, 0xff, 10]))),
        block({}),
      ]),
      expected: {
        xattrs: new Map([['security.capability', new Uint8Array([1, 0, 0x80, 0xff, 10])]]),
      },
    },
    {
      name: 'a global header, which is ignored',
      tar: Buffer.concat([
        withContent(block({ type: 'g', size: '14\0' }), paxRecord('path', 'x')),
        block({ name: 'f' }),
      ]),
      expected: { name: 'f' },
    },
    {
      name: 'no blocks of zeros at the end, and what follows them',
      tar: Buffer.concat([block({ name: 'f' }), END, Buffer.from('rubbish')]),
      expected: { name: 'f' },
    },
  ];
  for (const { name, tar, expected } of oneEntry) {
    it(`reads ${name}`, () => {
      const [entry, ...others] = readTar(tar, 77);
      assert.equal(others.length, 0);
      for (const [key, value] of Object.entries(expected)) {
        assert.deepEqual(entry?.[key as keyof ReadEntry], value);
      }
    });
  }

  const malformed: { name: string; tar: Buffer; message: RegExp }[] = [
    { name: 'a wrong checksum', tar: Buffer.alloc(512, 'x'), message: /wrong checksum/ },
    { name: 'half a header', tar: block({}).subarray(0, 300), message: /middle of a header/ },
    {
      name: 'half a file',
      tar: Buffer.concat([block({ name: 'big', size: '7777\0' }), Buffer.alloc(100)]),
      message: /ends in the middle of "big"/,
    },
    { name: 'an unknown type', tar: block({ type: 'Q' }), message: /"f" is of type "Q"/ },
    {
      name: 'a sparse file of an unknown version',
      tar: Buffer.concat([pax(paxRecord('GNU.sparse.major', '2')), block({})]),
      message: /version "2" of the format/,
    },
    {
      name: 'a sparse file without its map',
      tar: Buffer.concat([pax(paxRecord('GNU.sparse.major', '1')), block({})]),
      message: /middle of a header/,
    },
    {
      name: 'an owner that no Linux has',
      tar: Buffer.concat([pax(paxRecord('uid', '4294967295')), block({})]),
      message: /"f" has the uid 4294967295/,
    },
    {
      name: 'a time that is none',
      tar: Buffer.concat([pax(paxRecord('mtime', '1e9')), block({})]),
      message: /mtime "1e9", which is no time/,
    },
    {
      name: 'an attribute that is no base64',
      tar: Buffer.concat([pax(paxRecord('LIBARCHIVE.xattr.user.a', '=!')), block({})]),
      message: /no base64/,
    },
    {
      name: 'a negative size',
      tar: block({ size: Buffer.from('ffffffffffffffffffffffff', 'hex') }),
      message: /negative size -1/,
    },
    {
      name: 'a size beyond all bounds',
      tar: block({ size: Buffer.from('807fffffffffffffffffffff', 'hex') }),
      message: /too large/,
    },
    {
      name: 'a negative size in PAX',
      tar: Buffer.concat([pax(paxRecord('size', '-5')), block({})]),
      message: /size "-5", which is no number/,
    },
    {
      name: 'a NUL in a name',
      tar: Buffer.concat([pax(paxRecord('path', 'a\0b')), block({})]),
      message: /NUL in its path/,
    },
    {
      name: 'an extension of gigabytes',
      tar: block({ type: 'x', size: '77777777777\0' }),
      message: /extended header has 8589934591 bytes/,
    },
    {
      name: 'letters for a number',
      tar: block({ size: 'abc\0' }),
      message: /"abc" where a number/,
    },
  ];
  for (const { name, tar, message } of malformed) {
    it(`refuses ${name}`, () => {
      assert.throws(() => readTar(tar), { kind: 'invalid-argument', message });
    });
  }

  it('reads PAX records, and refuses those of a wrong length', () => {
    const records = parsePaxRecords(Buffer.concat([paxRecord('a', '1'), paxRecord('b', 'x=y\n')]));
    assert.deepEqual(
      [...records].map(([key, value]) => [key, Buffer.from(value).toString()]),
      [
        ['a', '1'],
        ['b', 'x=y\n'],
      ],
    );
    for (const text of ['5 a=1\n', '99 a=1\n', 'x a=1\n', '6 a=1x', '0 a=1\n', '6 ab1\n']) {
      assert.throws(() => parsePaxRecords(Buffer.from(text)), /malformed record/, text);
    }
  });

  it('takes a block of zeros for the end', () => {
    assert.equal(parseTarHeader(Buffer.alloc(512)), undefined);
  });
});
