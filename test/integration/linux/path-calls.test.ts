import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathCalls } from '../../../linux/path-calls.js';
import { requiresRoot } from '../../support/requires.js';

const S_IFCHR = 0o020000;
const S_IFIFO = 0o010000;

describe('PathCalls', () => {
  let folder: string;
  const path = (name: string): Buffer => Buffer.from(`${folder}/${name}`, 'latin1');

  before(function () {
    requiresRoot(this);
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ht-paths-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('take names that are no text', () => {
    const name = path('no-\xff-utf8');
    writeFileSync(name, '');
    pathCalls.setXattr(name, 'user.a', Buffer.from('1'));
    pathCalls.setTime(name, 5n);
    pathCalls.mknod(path('\xfe'), S_IFIFO | 0o600, 0, 0);
    assert.equal(lstatSync(name, { bigint: true }).mtimeNs, 5n);
    assert.deepEqual([...pathCalls.xattrs(name).keys()], ['user.a']);
    assert.deepEqual(readdirSync(folder, 'latin1').sort(), ['no-\xff-utf8', '\xfe']);
  });

  it('read all attributes, empty and large ones too', () => {
    const file = path('file');
    writeFileSync(file, '');
    assert.equal(pathCalls.xattrs(file).size, 0);
    const wanted = new Map([
      ['user.bytes', Buffer.from([0, 255, 10])],
      ['user.empty', Buffer.alloc(0)],
      ['user.large', Buffer.alloc(2000, 'x')],
      ['trusted.overlay.opaque', Buffer.from('y')],
    ]);
    for (const [name, value] of wanted) pathCalls.setXattr(file, name, value);
    const found = [...pathCalls.xattrs(file)].map(([k, v]) => [k, Buffer.from(v)] as const);
    assert.deepEqual(new Map(found), wanted);
  });

  for (const mtimeNs of [0n, 1n, -1n, -1_500_000_000n, 1_700_000_000_123_456_789n]) {
    it(`set the time ${mtimeNs}, of a link itself`, () => {
      writeFileSync(path('file'), '');
      symlinkSync('file', path('link'));
      const before = lstatSync(path('file'), { bigint: true }).mtimeNs;
      pathCalls.setTime(path('link'), mtimeNs);
      assert.equal(lstatSync(path('link'), { bigint: true }).mtimeNs, mtimeNs);
      assert.equal(lstatSync(path('file'), { bigint: true }).mtimeNs, before);
    });
  }

  it('make devices of any number', () => {
    pathCalls.mknod(path('disk'), S_IFCHR | 0o600, 259, 65_537);
    const device = (259 << 8) | 1 | (65_536 << 12);
    assert.equal(lstatSync(path('disk')).rdev, device);
  });

  it('say what failed, and where', () => {
    const missing = path('missing');
    const attempts: [() => unknown, RegExp][] = [
      [() => pathCalls.xattrs(missing), /reading the attributes of .*missing: ENOENT/],
      [
        () => {
          pathCalls.setTime(missing, 0n);
        },
        /setting the time of .*missing: ENOENT/,
      ],
      [
        () => {
          pathCalls.setXattr(missing, 'user.a', Buffer.alloc(0));
        },
        /setting attribute user\.a of .*missing: ENOENT/,
      ],
      [
        () => {
          pathCalls.mknod(path('no/such'), S_IFIFO, 0, 0);
        },
        /making device node .*such: ENOENT/,
      ],
    ];
    for (const [attempt, message] of attempts) {
      assert.throws(attempt, { kind: 'not-found', message });
    }
  });
});
