import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import type { TarKind } from '../../../../runtime/core/tar-header.js';
import { tarOf, untar, type TarFile } from '../../../support/tar-files.js';

const byteString = (minLength: number, maxLength: number) =>
  fc
    .uint8Array({ min: 1, minLength, maxLength })
    .map((bytes) => String.fromCharCode(...bytes).replaceAll('/', '_'));

const kinds: readonly TarKind[] = ['file', 'directory', 'symlink', 'hardlink', 'fifo'];
const file: fc.Arbitrary<TarFile> = fc
  .record({
    name: byteString(1, 300),
    kind: fc.constantFrom(...kinds),
    linkName: byteString(1, 300),
    mode: fc.nat({ max: 0o7777 }),
    uid: fc.nat({ max: 2 ** 32 - 2 }),
    gid: fc.nat({ max: 2 ** 32 - 2 }),
    seconds: fc.integer({ min: -(2 ** 31), max: 2 ** 40 }),
    content: fc.uint8Array({ maxLength: 1500 }),
    xattrs: fc.uniqueArray(fc.tuple(fc.stringMatching(/^user\.[a-zé.]{1,20}$/), fc.uint8Array()), {
      selector: ([name]) => name,
    }),
  })
  .map(({ seconds, content, xattrs, linkName, kind, ...rest }) => ({
    ...rest,
    kind,
    linkName: kind === 'symlink' || kind === 'hardlink' ? linkName : '',
    mtimeMs: seconds * 1000,
    mtimeNs: BigInt(seconds) * 1_000_000_000n,
    xattrs: new Map(xattrs),
    ...(kind === 'file' && { content }),
  }));

describe('writing a tar', () => {
  it('says all that reading it tells again', () => {
    fc.assert(
      fc.property(fc.array(file, { maxLength: 4 }), (files) => {
        const back = untar(tarOf(files));
        assert.deepEqual(
          back.map(({ sizeBytes, content, xattrs, mtimeMs: _, ...entry }) => ({
            ...entry,
            sizeBytes,
            content: content.toString('hex'),
            xattrs: [...xattrs].map(([name, value]) => [name, Buffer.from(value).toString('hex')]),
          })),
          files.map(({ content = '', xattrs, mtimeMs: _, ...entry }) => ({
            major: 0,
            minor: 0,
            ...entry,
            sizeBytes: content.length,
            content: Buffer.from(content).toString('hex'),
            xattrs: [...(xattrs ?? [])].map(([name, value]) => [
              name,
              Buffer.from(value).toString('hex'),
            ]),
          })),
        );
      }),
    );
  });

  it('is read by GNU tar', () => {
    const long = `${'d'.repeat(90)}/${'f'.repeat(90)}`;
    const tar = tarOf([
      { name: 'dir/', kind: 'directory', mode: 0o700 },
      { name: long, content: 'x', uid: 3_000_000, mtimeNs: 1_000_000_000n, mtimeMs: 1000 },
      { name: 'link', kind: 'symlink', linkName: 'dir', mode: 0o777 },
      { name: 'hard', kind: 'hardlink', linkName: long },
      { name: 'null', kind: 'character-device', major: 1, minor: 3 },
      { name: 'pipe', kind: 'fifo' },
    ]);
    const listed = execFileSync('tar', ['--utc', '--numeric-owner', '-tvf', '-'], { input: tar })
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' '));
    assert.deepEqual(listed, [
      'drwx------ 0/0 0 1970-01-01 00:00 dir/',
      `-rw-r--r-- 3000000/0 1 1970-01-01 00:00 ${long}`,
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00 link -> dir',
      `hrw-r--r-- 0/0 0 1970-01-01 00:00 hard link to ${long}`,
      'crw-r--r-- 0/0 1,3 1970-01-01 00:00 null',
      'prw-r--r-- 0/0 0 1970-01-01 00:00 pipe',
    ]);
  });
});
