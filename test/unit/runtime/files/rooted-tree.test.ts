import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { isKind } from '../../../../common/errors.js';
import { RootedTree } from '../../../../runtime/files/rooted-tree.js';

describe('paths of a rooted tree', () => {
  let top: string;
  let root: string;
  let tree: RootedTree;

  beforeEach(() => {
    top = fs.mkdtempSync(join(tmpdir(), 'ht-tree-'));
    root = join(top, 'root');
    fs.mkdirSync(root);
    fs.writeFileSync(join(top, 'secret'), 'outside');
    tree = new RootedTree(root);
  });
  afterEach(() => {
    tree[Symbol.dispose]();
    fs.rmSync(top, { recursive: true });
  });

  function read(path: string): string {
    const node = tree.find(path, { followLast: true });
    try {
      return fs.readFileSync(node.handle, 'utf8');
    } finally {
      node[Symbol.dispose]();
    }
  }

  // What the kernel says of a path after chroot(2), by names alone.
  type Model = { [name: string]: Model | string };
  const NAMES = ['a', 'b', 'c'];
  const step = fc.constantFrom(...NAMES, '..', '.', '');
  const path = fc.array(step, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'));
  const link = fc.tuple(fc.boolean(), path).map(([abs, p]) => (abs ? `/${p}` : p || '.'));
  const model: fc.Arbitrary<Model> = fc.letrec<{ dir: Model; entry: Model | string }>((tie) => ({
    dir: fc.dictionary(fc.constantFrom(...NAMES), tie('entry'), {
      maxKeys: 3,
      depthIdentifier: 'd',
    }),
    entry: fc.oneof({ maxDepth: 3, depthIdentifier: 'd' }, link, tie('dir')),
  })).dir;

  function build(folder: string, tree: Model): void {
    for (const [name, entry] of Object.entries(tree)) {
      const inner = join(folder, name);
      if (typeof entry === 'string') fs.symlinkSync(entry, inner);
      else {
        fs.mkdirSync(inner);
        build(inner, entry);
      }
    }
  }

  function resolve(tree: Model, wanted: string): string | undefined {
    const todo = wanted.split('/').toReversed();
    let names: string[] = [];
    const at = (): Model | string | undefined =>
      names.reduce<Model | string | undefined>(
        (node, name) => (typeof node === 'object' ? node[name] : undefined),
        tree,
      );
    for (let links = 0; todo.length > 0;) {
      const name = todo.pop() ?? '';
      if (name === '' || name === '.') continue;
      if (name === '..') {
        names = names.slice(0, -1);
        continue;
      }
      names = [...names, name];
      const found = at();
      if (found === undefined) return undefined;
      if (typeof found !== 'string') continue;
      if (++links > 40) return undefined;
      names = found.startsWith('/') ? [] : names.slice(0, -1);
      todo.push(...found.split('/').toReversed());
    }
    return `/${names.join('/')}`;
  }

  it('lead where they would with the tree as "/", and never out of it', () => {
    fc.assert(
      fc.property(model, path, (shape, wanted) => {
        fs.rmSync(root, { recursive: true });
        fs.mkdirSync(root);
        build(root, shape);
        const own = new RootedTree(root);
        try {
          const node = own.find(wanted, { followLast: true });
          assert.equal(node.path, resolve(shape, wanted));
          assert.equal(fs.readlinkSync(node.handle), node.path === '/' ? root : root + node.path);
          node[Symbol.dispose]();
        } catch (error) {
          if (!isKind(error, 'not-found', 'invalid-argument')) throw error;
          assert.equal(resolve(shape, wanted), undefined);
        } finally {
          own[Symbol.dispose]();
        }
      }),
      { numRuns: 300 },
    );
  });

  it('do not follow the links of /proc', () => {
    const proc = new RootedTree('/');
    fs.symlinkSync('/proc/self/root', join(root, 'proc-root'));
    fs.symlinkSync(`/proc/self/fd/3`, join(root, 'proc-fd'));
    proc[Symbol.dispose]();
    assert.throws(() => read('/proc-root/etc/passwd'), { kind: 'not-found' });
    assert.throws(() => read('/proc-fd'), { kind: 'not-found' });
  });

  it('name what is missing, and where it would be', () => {
    fs.mkdirSync(join(root, 'd'));
    fs.symlinkSync('/d/new', join(root, 'dangling'));
    const walked = tree.walk('/dangling', { followLast: true });
    assert.ok('parent' in walked);
    assert.deepEqual([walked.parent.path, walked.missing], ['/d', 'new']);
    walked.parent[Symbol.dispose]();
    assert.throws(() => tree.walk('/x/y', { followLast: true }), {
      kind: 'not-found',
      message: /\/x/,
    });
  });

  it('make directories inside only, on the way', () => {
    fs.symlinkSync('../../../up', join(root, 'link'));
    const made = tree.find('/link/deep', { followLast: true, makeDirectories: true });
    assert.equal(made.path, '/up/deep');
    made[Symbol.dispose]();
    assert.ok(!fs.existsSync(join(top, 'up')));
  });

  it('lead through mounts by their sources, and out again', () => {
    const volume = join(top, 'volume');
    fs.mkdirSync(join(root, 'mnt'));
    fs.mkdirSync(volume);
    fs.writeFileSync(join(volume, 'f'), 'in the volume');
    fs.writeFileSync(join(root, 'g'), 'in the root');
    fs.symlinkSync('../g', join(volume, 'out'));
    const own = new RootedTree(root, [
      { target: '/mnt', source: volume, readOnly: true },
      { target: '/tmpfs', source: undefined, readOnly: false },
    ]);
    const node = own.find('/mnt/f', { followLast: true });
    assert.equal(fs.readFileSync(node.handle, 'utf8'), 'in the volume');
    assert.equal(node.mount.readOnly, true);
    const out = own.find('/mnt/out', { followLast: true });
    assert.equal(fs.readFileSync(out.handle, 'utf8'), 'in the root');
    assert.throws(
      () => own.find('/tmpfs/x', { followLast: true }),
      /only while the container runs/,
    );
    for (const open of [node, out, own]) open[Symbol.dispose]();
  });

  it('refuse what no path can be', () => {
    assert.throws(() => read('/a\0b'), { kind: 'invalid-argument' });
    assert.throws(() => read(`/${'x'.repeat(5000)}`), { kind: 'invalid-argument' });
    assert.throws(() => read(`/${'x'.repeat(300)}`), { kind: 'invalid-argument' });
  });

  it('do not wait for a fifo', () => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    const node = tree.find('/pipe', { followLast: true });
    assert.ok(node.stat.isFIFO());
    node[Symbol.dispose]();
  });

  it('leave no descriptor open, however they end', () => {
    fs.mkdirSync(join(root, 'a/b'), { recursive: true });
    fs.symlinkSync('loop', join(root, 'loop'));
    fs.symlinkSync('../b', join(root, 'a/b/round'));
    const before = fs.readdirSync('/proc/self/fd').length;
    tree.find('/a/b/round/round', { followLast: true })[Symbol.dispose]();
    for (const path of ['/a/none/x', '/loop/x', '/a/b/none']) assert.throws(() => read(path));
    assert.equal(fs.readdirSync('/proc/self/fd').length, before);
  });

  describe('while somebody swaps links and directories', () => {
    let swapper: ChildProcess;
    beforeEach(async () => {
      fs.mkdirSync(join(root, 'dir'));
      fs.mkdirSync(join(root, 'deep/er/still'), { recursive: true });
      fs.writeFileSync(join(root, 'dir/secret'), 'inside');
      fs.writeFileSync(join(root, 'secret'), 'inside');
      const script = `
        const fs = require('fs');
        process.chdir(process.argv[1]);
        fs.symlinkSync(process.argv[2], 'abs'); fs.symlinkSync('../../../..' + process.argv[2], 'rel');
        process.stdout.write('on');
        for (;;) {
          for (const link of ['abs', 'rel']) {
            fs.renameSync('dir', 'was'); fs.renameSync(link, 'dir');
            fs.renameSync('dir', link); fs.renameSync('was', 'dir');
            fs.renameSync('deep/er', 'er'); fs.renameSync('er', 'deep/er');
          }
        }`;
      swapper = spawn(process.execPath, ['-e', script, root, top], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      if (swapper.stdout !== null) await once(swapper.stdout, 'data');
    });
    afterEach(async () => {
      const ended = once(swapper, 'exit');
      swapper.kill('SIGKILL');
      await ended;
    });

    it('never lead to what is outside', () => {
      const seen = new Set<string>();
      for (let round = 0; round < 4000; round++) {
        for (const path of ['/dir/secret', '/deep/er/still/../../../dir/../secret']) {
          try {
            seen.add(read(path));
          } catch (error) {
            if (!isKind(error, 'not-found', 'failed-precondition')) throw error;
          }
        }
      }
      assert.deepEqual([...seen], ['inside']);
    });
  });
});
