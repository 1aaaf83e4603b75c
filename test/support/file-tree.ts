import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathCalls } from '../../linux/path-calls.js';

/** Bytes that a tree takes on its disk, as `du` says. */
export function diskUse(path: string): number {
  const words = ['-s', '-x', '--block-size=1', path];
  return Number(execFileSync('du', words, { encoding: 'utf8' }).split('\t')[0]);
}

/** What a tree may hold that some ways of packing cannot say. */
export type TreeFeature =
  | 'xattrs'
  /** Times of nanoseconds, and before 1970. */
  | 'fractions'
  | 'early fractions'
  /** Owners and names beyond the fields of the header. */
  | 'wide'
  | 'holes'
  /** Devices and fifos. */
  | 'special';

export interface DescribedFile {
  kind: bigint;
  link: string;
  owner: string;
  mode: string;
  mtimeNs: bigint;
  nlink: bigint;
  device: bigint;
  content: string;
  size: bigint;
  /** Space on disk in steps of 64 KiB. */
  space: bigint;
  xattrs: string[];
}

/**
 * Everything about a tree that a layer has to keep, by name; names are byte strings. Holes are
 * compared as the space that a file takes, in steps of 64 KiB.
 */
export function describeTree(root: string, path = '.'): Record<string, DescribedFile> {
  const full = Buffer.from(`${root}/${path}`, 'latin1');
  const stat = lstatSync(full, { bigint: true });
  const { mode, uid, gid, nlink, rdev, mtimeNs, size, blocks } = stat;
  const isFile = stat.isFile();
  const all: Record<string, DescribedFile> = {
    [path]: {
      kind: mode & 0o170000n,
      link: stat.isSymbolicLink() ? readlinkSync(full, 'latin1') : '',
      owner: `${uid}:${gid}`,
      mode: (mode & 0o7777n).toString(8),
      mtimeNs,
      nlink,
      device: stat.isCharacterDevice() || stat.isBlockDevice() ? rdev : 0n,
      content: isFile ? createHash('sha256').update(readFileSync(full)).digest('hex') : '',
      size: isFile ? size : 0n,
      space: isFile ? (blocks * 512n + 65_535n) / 65_536n : 0n,
      xattrs: [...pathCalls.xattrs(full)]
        .map(([name, value]) => `${name}=${Buffer.from(value).toString('hex')}`)
        .sort(),
    },
  };
  if (!stat.isDirectory()) return all;
  for (const name of readdirSync(full, 'latin1')) {
    Object.assign(all, describeTree(root, `${path}/${name}`));
  }
  return all;
}

/** Makes a tree with one of everything, but for what is said to be lacking. */
export function makeRichTree(root: string, lacks: readonly TreeFeature[]): void {
  const has = (feature: TreeFeature): boolean => !lacks.includes(feature);
  mkdirSync(join(root, 'a/b'), { recursive: true });
  const file = join(root, 'a/file');
  writeFileSync(file, 'x'.repeat(100_000));
  chownSync(file, 1000, 1001);
  chmodSync(file, 0o6755);
  linkSync(file, join(root, 'hard'));
  writeFileSync(join(root, `${'long-name-'.repeat(9)}.txt`), '');
  writeFileSync(Buffer.from(`${root}/latin-\xe9`, 'latin1'), 'bytes');
  writeFileSync(join(root, 'grüße-€'), 'utf-8');
  symlinkSync('a/file', join(root, 'soft'));
  symlinkSync('/nowhere', join(root, 'a/soft'));
  lchownSync(join(root, 'a/soft'), 5, 6);
  if (has('special')) makeSpecial(root);
  if (has('wide')) makeWide(root);
  if (has('holes')) makeHoles(root);
  if (has('xattrs')) makeAttributes(root);
  setTimes(root, has('fractions'));
  utimesSync(file, 1_600_000_000, 1_600_000_000);
  utimesSync(join(root, 'a'), 1_500_000_000, 1_500_000_000);
  if (has('fractions')) {
    pathCalls.setTime(Buffer.from(file), 1_600_000_000_123_456_789n);
    pathCalls.setTime(Buffer.from(join(root, 'soft')), 1_400_000_000_000_000_001n);
    pathCalls.setTime(
      Buffer.from(join(root, 'a')),
      has('early fractions') ? -1_500_000_000n : -2_000_000_000n,
    );
  }
}

function makeSpecial(root: string): void {
  execFileSync('mknod', ['-m', '0660', join(root, 'null'), 'c', '1', '3']);
  execFileSync('mknod', ['-m', '0600', join(root, 'disk'), 'b', '259', '1000']);
  execFileSync('mkfifo', ['-m', '0622', join(root, 'fifo')]);
  chownSync(join(root, 'null'), 7, 8);
}

function makeWide(root: string): void {
  writeFileSync(join(root, 'a/wide'), 'w');
  chownSync(join(root, 'a/wide'), 3_000_000_000, 2_100_000);
  const deep = join(root, ...Array.from({ length: 6 }, (_, i) => `${i}-`.repeat(25)));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, 'n'.repeat(200)), 'deep');
  symlinkSync('t'.repeat(300), join(deep, 'link'));
}

/** 30 parts of 4 KiB in 40 MiB: more than fit a header, with holes at both ends. */
function makeHoles(root: string): void {
  const fd = openSync(join(root, 'holes'), 'w');
  for (let i = 1; i <= 30; i++) writeSync(fd, Buffer.alloc(4096, i), 0, 4096, i * 1024 * 1024);
  ftruncateSync(fd, 40 * 1024 * 1024);
  closeSync(fd);
  const empty = openSync(join(root, 'only-a-hole'), 'w');
  ftruncateSync(empty, 3 * 1024 * 1024);
  closeSync(empty);
}

function makeAttributes(root: string): void {
  writeFileSync(join(root, 'ping'), 'p', { mode: 0o755 });
  execFileSync('setcap', ['cap_net_raw=ep', join(root, 'ping')], {
    env: { PATH: '/usr/sbin:/sbin' },
  });
  pathCalls.setXattr(Buffer.from(join(root, 'a')), 'user.folder', Buffer.from('of a folder'));
  pathCalls.setXattr(Buffer.from(join(root, 'ping')), 'user.bytes', Buffer.from([1, 0, 255, 10]));
}

/** Tars without fractions have whole seconds. */
function setTimes(folder: string, fractions: boolean): void {
  if (fractions) return;
  for (const entry of readdirSync(Buffer.from(folder, 'latin1'), { encoding: 'latin1' })) {
    const path = `${folder}/${entry}`;
    const bytes = Buffer.from(path, 'latin1');
    if (lstatSync(bytes).isDirectory()) setTimes(path, fractions);
    pathCalls.setTime(bytes, 1_700_000_000_000_000_000n);
  }
  pathCalls.setTime(Buffer.from(folder, 'latin1'), 1_700_000_000_000_000_000n);
}
