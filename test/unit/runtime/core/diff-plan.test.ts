import assert from 'node:assert/strict';
import fc from 'fast-check';
import { planDiff, type DiffNode } from '../../../../runtime/core/diff-plan.js';

/** A file is its content, a directory what is in it. */
type Tree = { [name: string]: Tree | number };

function toNode(tree: Tree | number): DiffNode {
  const isDirectory = typeof tree === 'object';
  return {
    isDirectory,
    isUntouched: false,
    fingerprint: isDirectory ? 'directory' : String(tree),
    names: () => (isDirectory ? Object.keys(tree) : []),
    child(name) {
      const found = isDirectory ? tree[name] : undefined;
      return found === undefined ? undefined : toNode(found);
    },
  };
}

/** path → content, or "directory". */
function flat(tree: Tree, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(tree).flatMap(([name, entry]): [string, string][] => {
      const path = `${prefix}/${name}`;
      if (typeof entry === 'number') return [[path, String(entry)]];
      return [[path, 'directory'], ...flat(entry, path)];
    }),
  );
}

const tree = fc.letrec<{ dir: Tree; entry: Tree | number }>((tie) => ({
  dir: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('entry'), {
    maxKeys: 3,
    depthIdentifier: 'd',
  }),
  entry: fc.oneof({ maxDepth: 3, depthIdentifier: 'd' }, fc.nat({ max: 2 }), tie('dir')),
})).dir;

describe('what has become of a tree', () => {
  it('is told completely, and nothing else is', () => {
    fc.assert(
      fc.property(tree, tree, (before, after) => {
        const was = flat(before);
        const is = flat(after);
        const changes = planDiff(toNode(before), toNode(after));
        const told = new Map(changes.map(({ kind, path }) => [path, kind]));
        assert.equal(told.size, changes.length);
        for (const [path, content] of is) {
          const former = was.get(path);
          const inside = [...told.keys()].some((other) => other.startsWith(`${path}/`));
          const isChanged = former !== content || inside;
          const kind = former === undefined ? 'added' : isChanged ? 'changed' : undefined;
          assert.equal(told.get(path), kind, path);
        }
        for (const [path] of was) {
          if (is.has(path)) continue;
          // only the top of what is gone, and nothing of a directory that a file replaced
          const parent = path.slice(0, path.lastIndexOf('/'));
          const isTop = parent === '' || is.get(parent) === 'directory';
          assert.equal(told.get(path), isTop ? 'deleted' : undefined, path);
        }
      }),
    );
  });

  it('is nothing where nothing has changed', () => {
    fc.assert(
      fc.property(tree, (same) => assert.deepEqual(planDiff(toNode(same), toNode(same)), [])),
    );
  });

  it('does not tell of what the engine itself made', () => {
    const before = toNode({ etc: { passwd: 1 } });
    const after = toNode({ etc: { passwd: 1, hosts: 0 }, proc: {}, own: 1 });
    const own = new Set(['/etc/hosts', '/proc']);
    assert.deepEqual(
      planDiff(before, after, (path) => own.has(path)),
      [{ kind: 'added', path: '/own' }],
    );
  });

  it('does not look into what was not touched', () => {
    const untouched: DiffNode = {
      ...toNode({}),
      isUntouched: true,
      names: () => assert.fail('looked into'),
    };
    const after: DiffNode = { ...toNode({}), names: () => ['big'], child: () => untouched };
    assert.deepEqual(planDiff(toNode({ big: {} }), after), []);
  });
});
