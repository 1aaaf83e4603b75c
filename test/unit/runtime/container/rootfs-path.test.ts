import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  makeFolderInRoot,
  readInRoot,
  resolveInRoot,
} from '../../../../runtime/container/rootfs-path.js';

describe('paths inside a root file system', () => {
  let root: string;
  let outside: string;

  beforeEach(() => {
    outside = mkdtempSync(join(tmpdir(), 'ht-runtime-'));
    root = join(outside, 'root');
    mkdirSync(join(root, 'etc'), { recursive: true });
    writeFileSync(join(root, 'etc/passwd'), 'inside');
    writeFileSync(join(outside, 'secret'), 'outside');
  });

  afterEach(() => {
    rmSync(outside, { recursive: true });
  });

  const links = [
    { name: 'climbing', target: '../../../../../../etc' },
    { name: 'absolute', target: '/etc' },
    { name: 'chained', target: '/other' },
  ];
  for (const { name, target } of links) {
    it(`keeps a ${name} link inside`, () => {
      symlinkSync('etc', join(root, 'other'));
      symlinkSync(target, join(root, 'link'));
      assert.equal(resolveInRoot(root, '/link/passwd'), join(root, 'etc/passwd'));
      assert.equal(readInRoot(root, '/link/passwd', 100), 'inside');
    });
  }

  it('reads nothing from outside', () => {
    rmSync(join(root, 'etc/passwd'));
    symlinkSync('../../secret', join(root, 'etc/passwd'));
    assert.equal(readInRoot(root, '/etc/passwd', 100), '');
    assert.equal(readInRoot(root, '/../secret', 100), '');
  });

  it('names a loop', () => {
    symlinkSync('b', join(root, 'a'));
    symlinkSync('a', join(root, 'b'));
    assert.throws(() => resolveInRoot(root, '/a/x'), { kind: 'invalid-argument', message: /loop/ });
  });

  it('takes what is no ordinary file for nothing, without waiting for it', () => {
    execFileSync('mkfifo', [join(root, 'etc/group')]);
    assert.equal(readInRoot(root, '/etc/group', 100), '');
    assert.equal(readInRoot(root, '/etc', 100), '');
    assert.equal(readInRoot(root, '/etc/passwd/x', 100), '');
  });

  it('refuses to read without bounds', () => {
    truncateSync(join(root, 'etc/passwd'), 101);
    assert.throws(() => readInRoot(root, '/etc/passwd', 100), { kind: 'invalid-argument' });
  });

  it('makes folders inside only', () => {
    symlinkSync('../../..', join(root, 'up'));
    makeFolderInRoot(root, '/up/new/deep');
    assert.ok(existsSync(join(root, 'new/deep')));
    assert.ok(!existsSync(join(outside, 'new')));
    assert.throws(() => makeFolderInRoot(root, '/etc/passwd'), { kind: 'invalid-argument' });
  });
});
