import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LayerTree, type LayerChange } from '../../../../runtime/core/layer-tree.js';
import type { TarEntry, TarKind } from '../../../../runtime/core/tar-header.js';

const FILE: TarEntry = {
  name: 'f',
  kind: 'file',
  linkName: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeMs: 0,
  mtimeNs: 0n,
  sizeBytes: 0,
  major: 0,
  minor: 0,
  xattrs: new Map(),
};

function entry(name: string, kind: TarKind = 'file', linkName = ''): TarEntry {
  return { ...FILE, name, kind, linkName };
}

/** Changes in short: "whiteout a/b", "hardlink a -> b". */
function changesOf(...entries: readonly TarEntry[]): string[] {
  const tree = new LayerTree({ maxEntries: 1000 });
  return entries.flatMap((e) => tree.plan(e)).map(brief);
}

function brief(change: LayerChange): string {
  const target = 'target' in change ? ` -> ${change.target}` : '';
  return `${change.change} ${change.path}${target}`;
}

/**
 * A file system that knows only what changes made, and fails where the real one would leave the
 * folder or misbehave: no path may lead through anything but a directory.
 */
class ModelDisk {
  readonly nodes = new Map<string, string>([['', 'directory']]);

  apply(change: LayerChange): void {
    const { path } = change;
    assert.ok(!path.startsWith('/') && !path.endsWith('/'), path);
    this.#checkParents(path);
    switch (change.change) {
      case 'remove':
        assert.ok(path !== '' && this.nodes.has(path), `remove ${path}`);
        for (const other of [...this.nodes.keys()]) {
          if (other === path || other.startsWith(`${path}/`)) this.nodes.delete(other);
        }
        return;
      case 'directory-attributes':
      case 'opaque':
        assert.equal(this.nodes.get(path), 'directory', path);
        return;
      case 'hardlink': {
        this.#checkParents(change.target);
        const target = this.nodes.get(change.target);
        assert.ok(target !== undefined && target !== 'directory', `link to ${change.target}`);
        this.#create(path, target);
        return;
      }
      case 'make-directory':
        this.#create(path, 'directory');
        return;
      default:
        this.#create(path, change.change);
    }
  }

  #create(path: string, kind: string): void {
    assert.ok(!this.nodes.has(path), `${path} exists`);
    this.nodes.set(path, kind);
  }

  #checkParents(path: string): void {
    const names = path === '' ? [] : path.split('/');
    for (const name of names) assert.ok(!['', '.', '..'].includes(name), `"${name}" in ${path}`);
    for (let i = 1; i < names.length; i++) {
      assert.equal(this.nodes.get(names.slice(0, i).join('/')), 'directory', `parent of ${path}`);
    }
  }
}

describe('planning the changes of a layer', () => {
  const cases: { name: string; entries: TarEntry[]; changes: string[] }[] = [
    {
      name: 'makes parents that have no entry',
      entries: [entry('/a/./b//f')],
      changes: ['make-directory a', 'make-directory a/b', 'file a/b/f'],
    },
    {
      name: 'sets attributes of the layer itself',
      entries: [entry('./', 'directory')],
      changes: ['directory-attributes '],
    },
    {
      name: 'replaces what is of another kind, with all below it',
      entries: [entry('x'), entry('x', 'directory'), entry('x/y'), entry('x', 'symlink', 'z')],
      changes: [
        'file x',
        'remove x',
        'make-directory x',
        'directory-attributes x',
        'file x/y',
        'remove x',
        'symlink x -> z',
      ],
    },
    {
      name: 'keeps a directory that comes twice',
      entries: [entry('d', 'directory'), entry('d/f'), entry('d', 'directory')],
      changes: ['make-directory d', 'directory-attributes d', 'file d/f', 'directory-attributes d'],
    },
    {
      name: 'deletes by name',
      entries: [entry('d/.wh.f')],
      changes: ['make-directory d', 'whiteout d/f'],
    },
    {
      name: 'makes a directory opaque once',
      entries: [entry('d/.wh..wh..opq'), entry('d/.wh..wh..opq')],
      changes: ['make-directory d', 'opaque d'],
    },
    {
      name: 'makes a directory opaque that is deleted and made anew',
      entries: [entry('.wh.d'), entry('d', 'directory'), entry('d/f')],
      changes: [
        'whiteout d',
        'remove d',
        'make-directory d',
        'opaque d',
        'directory-attributes d',
        'file d/f',
      ],
    },
    {
      name: 'makes a directory opaque that is made and then deleted',
      entries: [entry('d', 'directory'), entry('.wh.d')],
      changes: ['make-directory d', 'directory-attributes d', 'opaque d'],
    },
    {
      name: 'keeps a file that is deleted below, whichever comes first',
      entries: [entry('f'), entry('.wh.f'), entry('.wh.g'), entry('g')],
      changes: ['file f', 'whiteout g', 'remove g', 'file g'],
    },
    { name: "leaves out aufs's bookkeeping", entries: [entry('.wh..wh.plnk')], changes: [] },
    {
      name: 'links to what is in the layer',
      entries: [entry('a/f'), entry('b/g', 'hardlink', '/a/f')],
      changes: ['make-directory a', 'file a/f', 'make-directory b', 'hardlink b/g -> a/f'],
    },
    {
      name: 'ignores a link to itself',
      entries: [entry('f'), entry('./f', 'hardlink', 'f')],
      changes: ['file f'],
    },
    {
      name: 'follows symbolic links of parents within the layer',
      entries: [
        entry('lib', 'symlink', '/usr/lib'),
        entry('lib/x'),
        entry('up', 'symlink', '../../lib/../etc'),
        entry('up/y'),
      ],
      changes: [
        'symlink lib -> /usr/lib',
        'make-directory usr',
        'make-directory usr/lib',
        'file usr/lib/x',
        'symlink up -> ../../lib/../etc',
        'make-directory usr/etc',
        'file usr/etc/y',
      ],
    },
  ];
  for (const { name, entries, changes } of cases) {
    it(name, () => {
      assert.deepEqual(changesOf(...entries), changes);
    });
  }

  const refused: { name: string; entries: TarEntry[]; message: RegExp }[] = [
    { name: '..', entries: [entry('a/../../b')], message: /"a\/..\/..\/b" leaves the layer/ },
    { name: '.. within the layer', entries: [entry('a/../b')], message: /leaves the layer/ },
    {
      name: '.. in a hard link',
      entries: [entry('f'), entry('l', 'hardlink', '../f')],
      message: /leaves the layer/,
    },
    {
      name: 'a link to nothing',
      entries: [entry('l', 'hardlink', 'x')],
      message: /hard link to "x", which the layer does not have/,
    },
    {
      name: 'a hard link to a directory',
      entries: [entry('d', 'directory'), entry('l', 'hardlink', 'd')],
      message: /which is no file/,
    },
    {
      name: 'a hard link to the layer',
      entries: [entry('l', 'hardlink', '/')],
      message: /does not have/,
    },
    {
      name: 'a link into the directory it replaces',
      entries: [entry('d/f'), entry('d', 'hardlink', 'd/f')],
      message: /into the directory "d" that it replaces/,
    },
    {
      name: 'a file as parent',
      entries: [entry('f'), entry('f/g')],
      message: /has the parent "f", which is no directory/,
    },
    {
      name: 'links in a circle',
      entries: [entry('a', 'symlink', 'b'), entry('b', 'symlink', 'a'), entry('a/f')],
      message: /too many symbolic links/,
    },
    { name: 'a whiteout of nothing', entries: [entry('.wh.')], message: /deletes no file by name/ },
    { name: 'a whiteout of ..', entries: [entry('.wh...')], message: /deletes no file by name/ },
    { name: 'a file in place of the layer', entries: [entry('.')], message: /is the layer itself/ },
    { name: 'an empty link', entries: [entry('l', 'symlink')], message: /link to nothing/ },
    { name: 'a name of 5000 bytes', entries: [entry('n'.repeat(5000))], message: /5000 bytes/ },
  ];
  for (const { name, entries, message } of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => changesOf(...entries), { kind: 'invalid-argument', message });
    });
  }

  it('bounds the number of entries, with parents', () => {
    const tree = new LayerTree({ maxEntries: 3 });
    tree.plan(entry('a/b/f'));
    assert.equal(tree.entries, 3);
    assert.throws(() => tree.plan(entry('a/g')), { kind: 'resource-exhausted' });
  });

  it('drops attributes that would steer overlayfs', () => {
    const xattrs = new Map(
      ['trusted.overlay.redirect', 'user.overlay.x', 'user.mine'].map((n) => [n, new Uint8Array()]),
    );
    const [change] = new LayerTree({ maxEntries: 9 }).plan({ ...FILE, xattrs });
    assert.ok(change?.change === 'file');
    assert.deepEqual([...change.attributes.xattrs.keys()], ['user.mine']);
  });

  it('tells the directories that the tar says nothing of, but for those that hide lower layers', () => {
    const tree = new LayerTree({ maxEntries: 100 });
    const entries = [
      entry('usr/bin/x'),
      entry('usr/bin', 'directory'),
      entry('etc/said/', 'directory'),
      entry('etc/said/deep/y'),
      entry('new/.wh..wh..opq'),
      entry('new/deep/z'),
      entry('.wh.old'),
      entry('old/f'),
    ];
    for (const e of entries) tree.plan(e);
    assert.deepEqual([...tree.impliedDirectories()].sort(), ['etc', 'etc/said/deep', 'usr']);
  });

  it('gives the times of directories that are still there', () => {
    const tree = new LayerTree({ maxEntries: 100 });
    for (const [name, mtimeNs] of [
      ['a', 1n],
      ['a/b', 2n],
      ['gone', 3n],
      ['gone/deep', 4n],
    ] as const) {
      tree.plan({ ...entry(name, 'directory'), mtimeNs });
    }
    tree.plan(entry('gone', 'symlink', '/etc'));
    tree.plan(entry('implied/f'));
    assert.deepEqual(
      [...tree.directoryTimes()],
      [
        { path: 'a', mtimeNs: 1n },
        { path: 'a/b', mtimeNs: 2n },
      ],
    );
  });

  const plain = fc.constantFrom('a', 'b', 'c');
  const odd = fc.constantFrom('.', '..', '', '.wh.a', '.wh.b', '.wh..wh..opq', '.wh...');
  const name = fc
    .array(fc.oneof({ weight: 8, arbitrary: plain }, { weight: 1, arbitrary: odd }), {
      minLength: 1,
      maxLength: 4,
    })
    .map((parts) => parts.join('/'));
  const anyEntry = fc
    .record({
      name,
      kind: fc.constantFrom<TarKind>('file', 'directory', 'symlink', 'hardlink', 'fifo'),
      linkName: fc.oneof(
        name,
        name.map((n) => `/${n}`),
        name.map((n) => `../../${n}`),
      ),
    })
    .map((e): TarEntry => ({ ...FILE, ...e }));

  it('never leads through anything but a directory of its own, whatever the entries', () => {
    fc.assert(
      fc.property(fc.array(anyEntry, { maxLength: 25 }), (entries) => {
        const tree = new LayerTree({ maxEntries: 10_000 });
        const disk = new ModelDisk();
        for (const e of entries) {
          let changes: LayerChange[] = [];
          try {
            changes = tree.plan(e);
          } catch (error) {
            // unpacking ends there
            assert.equal((error as { kind?: string }).kind, 'invalid-argument');
            break;
          }
          for (const change of changes) disk.apply(change);
        }
        for (const { path } of tree.directoryTimes()) {
          assert.equal(disk.nodes.get(path), 'directory', path);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
