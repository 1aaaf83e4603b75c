import assert from 'node:assert/strict';
import type { ContainerEntry } from '../../../../runtime/container/record.js';
import { ContainerPaths } from '../../../../runtime/container/paths.js';
import { ContainerTrees } from '../../../../runtime/files/container-trees.js';

const unexpected = (): never => {
  throw new Error('not asked for');
};

describe("containers' trees", () => {
  it('are measured a few at a time, however many are asked for', async () => {
    let running = 0;
    let most = 0;
    const measure = async (paths: readonly string[]): Promise<number> => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
      return Number(paths[0]);
    };
    const trees = new ContainerTrees({
      paths: new ContainerPaths('/nowhere', '/nowhere'),
      snapshotter: {
        mount: (id) => Promise.resolve({ lowerDirs: [], upperDir: id, rootDir: '/nowhere' }),
      },
      threads: {
        measure,
        pack: unexpected,
        packRoot: unexpected,
        unpack: unexpected,
        diff: unexpected,
      },
      volumes: { hold: unexpected },
      bootId: 'boot',
    });
    const entryOf = (id: string): ContainerEntry =>
      ({ record: { config: { id } } }) as ContainerEntry;
    const ids = Array.from({ length: 300 }, (_, i) => i);
    const sizes = await Promise.all(ids.map((id) => trees.sizeRw(entryOf(String(id)))));
    assert.deepEqual(sizes, ids);
    assert.ok(most > 1 && most < 10, `${most} at once`);
  });
});
