import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileCalls } from '../../../linux/file-calls.js';
import { planDiff } from '../../../runtime/core/diff-plan.js';
import type { LayerId } from '../../../runtime/core/layer-chain.js';
import { CopyThreads } from '../../../runtime/files/copy-threads.js';
import { MergedNode } from '../../../runtime/files/merged-node.js';
import { openCopySnapshotter } from '../../../runtime/snapshot/copy.js';
import { layerDiffDir } from '../../../runtime/snapshot/layer-layout.js';
import { requiresRoot } from '../../support/requires.js';

describe('layers laid over each other', () => {
  let top: string;
  let layers: string[];

  beforeEach(function () {
    requiresRoot(this);
    top = fs.mkdtempSync(join(tmpdir(), 'ht-merged-'));
    layers = ['upper', 'middle', 'base'].map((name) => join(top, name));
    for (const layer of layers) fs.mkdirSync(layer);
  });
  afterEach(() => {
    fs.rmSync(top, { recursive: true, force: true });
  });

  function write(layer: number, path: string, content = 'x'): void {
    const file = join(layers[layer] ?? '', path);
    fs.mkdirSync(join(file, '..'), { recursive: true });
    fs.writeFileSync(file, content);
  }
  function whiteout(layer: number, folder: string, name: string): void {
    const path = join(layers[layer] ?? '', folder);
    fs.mkdirSync(path, { recursive: true });
    const fd = fs.openSync(path, 'r');
    fileCalls.makeNode(fd, Buffer.from(name), 0o020000, { major: 0, minor: 0 });
    fs.closeSync(fd);
  }
  function opaque(layer: number, path: string): void {
    const folder = join(layers[layer] ?? '', path);
    fs.mkdirSync(folder, { recursive: true });
    const fd = fs.openSync(folder, 'r');
    fileCalls.setXattr(fd, 'trusted.overlay.opaque', Buffer.from('y'));
    fs.closeSync(fd);
  }
  function names(node: MergedNode, prefix = ''): string[] {
    return [...node.names()].sort().flatMap((name) => {
      const child = node.child(name);
      if (child === undefined) return [];
      const path = `${prefix}/${name}`;
      return child.isDirectory ? [`${path}/`, ...names(child, path)] : [path];
    });
  }
  const merged = (hasUpper: boolean, from = 0): MergedNode =>
    MergedNode.top(layers.slice(from), { calls: fileCalls, hasUpper, idMap: undefined });
  const diff = (): string[] =>
    planDiff(merged(false, 1), merged(true)).map(({ kind, path }) => `${kind} ${path}`);

  it('hide what whiteouts and opaque directories hide', () => {
    write(2, 'a/one');
    write(2, 'a/two');
    write(2, 'b/old');
    write(2, 'c');
    write(1, 'a/three');
    whiteout(1, 'a', 'one');
    opaque(1, 'b');
    write(1, 'b/new');
    whiteout(0, '', 'c');
    assert.deepEqual(names(merged(false)), ['/a/', '/a/three', '/a/two', '/b/', '/b/new']);
  });

  it('hide a directory under a file, and a file under a directory', () => {
    write(2, 'd/deep');
    write(1, 'd');
    write(2, 'f');
    write(1, 'f/deep');
    assert.deepEqual(names(merged(false)), ['/d', '/f/', '/f/deep']);
    // What a file hides does not come back under a directory above it.
    write(0, 'd/new');
    assert.deepEqual(names(merged(false)), ['/d/', '/d/new', '/f/', '/f/deep']);
  });

  it('tell what the topmost has changed', () => {
    write(2, 'keep/same');
    write(2, 'keep/gone');
    write(2, 'opaque/old');
    write(1, 'both');
    write(0, 'both', 'changed');
    write(0, 'fresh/file');
    whiteout(0, 'keep', 'gone');
    opaque(0, 'opaque');
    write(0, 'opaque/new');
    assert.deepEqual(diff(), [
      'changed /both',
      'added /fresh',
      'added /fresh/file',
      'changed /keep',
      'deleted /keep/gone',
      'changed /opaque',
      'added /opaque/new',
      'deleted /opaque/old',
    ]);
  });

  it('tell what has changed in a copy of them', async () => {
    const root = join(top, 'engine');
    const ids = ['a'.repeat(64), 'b'.repeat(64)] as LayerId[];
    layers = ids.map((id) => layerDiffDir(root, id));
    for (const layer of layers) fs.mkdirSync(layer, { recursive: true });
    write(0, 'etc/passwd', 'old');
    write(0, 'etc/kept', 'same');
    write(0, 'gone');
    whiteout(1, '', 'gone');
    write(1, 'usr/file');
    const snapshotter = await openCopySnapshotter({
      root,
      files: { syncFilesystem: () => Promise.resolve() },
    });
    await snapshotter.prepare('c1', ids);
    const { rootDir, lowerDirs } = await snapshotter.mount('c1');
    const threads = new CopyThreads();
    const told = async (): Promise<string[]> => {
      const job = { type: 'diff-copy', root: rootDir, layers: lowerDirs } as const;
      const changes = await threads.diff({ ...job, ownPaths: [], idMap: undefined });
      return changes.map(({ kind, path }) => `${kind} ${path}`);
    };
    assert.deepEqual(await told(), []);
    fs.writeFileSync(join(rootDir, 'etc/passwd'), 'changed');
    fs.rmSync(join(rootDir, 'usr'), { recursive: true });
    fs.mkdirSync(join(rootDir, 'new/deep'), { recursive: true });
    assert.deepEqual(await told(), [
      'changed /etc',
      'changed /etc/passwd',
      'added /new',
      'added /new/deep',
      'deleted /usr',
    ]);
    await snapshotter.remove('c1');
  });

  it('tell nothing of a directory that was only copied up', () => {
    write(2, 'etc/passwd');
    fs.mkdirSync(join(layers[0] ?? '', 'etc'));
    assert.deepEqual(diff(), []);
    fs.chmodSync(join(layers[0] ?? '', 'etc'), 0o700);
    assert.deepEqual(diff(), ['changed /etc']);
  });
});
