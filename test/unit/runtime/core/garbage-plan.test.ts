import assert from 'node:assert/strict';
import fc from 'fast-check';
import { digestOfHex, type Digest } from '../../../../runtime/core/digest.js';
import {
  DEFAULT_GARBAGE_RULES,
  planGarbage,
  type Inventory,
  type InventoryImage,
} from '../../../../runtime/core/garbage-plan.js';

const NOW = 1_000_000_000_000;
const HOUR = 3_600_000;
const DATA = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const idOf = (n: number): Digest => digestOfHex(String(n).padStart(64, '0'));
const rules = { ...DEFAULT_GARBAGE_RULES, imageMinAgeMs: 10 * HOUR, partialMaxAgeMs: 20 * HOUR };

function image(n: number, hoursAgo: number, data: string[], isUsed = false): InventoryImage {
  return { id: idOf(n), lastUsedAtMs: NOW - hoursAgo * HOUR, isUsed, data };
}

function inventory(images: InventoryImage[], bytes: Record<string, number> = {}): Inventory {
  return { images, bytes: new Map(Object.entries(bytes)), leftovers: [] };
}

const disk = (usedBytes: number): { freeBytes: number; totalBytes: number } => ({
  totalBytes: 1000,
  freeBytes: 1000 - usedBytes,
});

describe('planning garbage collection', () => {
  const images = [
    image(1, 30, ['a']),
    image(2, 50, ['b']),
    image(3, 11, ['c']),
    image(4, 5, ['d']),
  ];
  const bytes = { a: 40, b: 40, c: 40, d: 400 };
  const cases = [
    { name: 'takes no image below the high watermark', used: 850, expected: [] },
    { name: 'takes the longest unused until the low watermark', used: 870, expected: [2, 1] },
    { name: 'takes no image that was used lately', used: 999, expected: [2, 1, 3] },
  ];
  for (const { name, used, expected } of cases) {
    it(name, () => {
      const plan = planGarbage(inventory(images, bytes), rules, disk(used), NOW);
      assert.deepEqual(plan.images, expected.map(idOf));
    });
  }

  it('counts shared data when the last image that has it goes', () => {
    const shared = [
      image(1, 90, ['base', 'x']),
      image(2, 80, ['base', 'y']),
      image(3, 70, ['z', 'z']),
    ];
    const sizes = { base: 60, x: 5, y: 5, z: 100 };
    const plan = planGarbage(inventory(shared, sizes), rules, disk(860), NOW);
    // 60 bytes are wanted: the first gives 5, the second 65
    assert.deepEqual(plan.images, [idOf(1), idOf(2)]);
  });

  it('takes young leftovers too while the disk is too full, the oldest first, before images', () => {
    const leftovers = [
      { name: 'newest', writtenAtMs: NOW - 1 },
      { name: 'older', writtenAtMs: NOW - HOUR },
      { name: 'newer', writtenAtMs: NOW - 2 },
    ];
    const sizes = { newest: 40, older: 40, newer: 40, a: 40, b: 40 };
    const planned = (used: number): [string[], Digest[]] => {
      const stock = { ...inventory(images.slice(0, 2), sizes), leftovers };
      const plan = planGarbage(stock, rules, disk(used), NOW);
      return [[...plan.leftovers], [...plan.images]];
    };
    assert.deepEqual(planned(850), [[], []]);
    assert.deepEqual(planned(870), [['older', 'newer'], []]);
    assert.deepEqual(planned(930), [['older', 'newer', 'newest'], [idOf(2)]]);
  });

  it('takes leftovers by their age alone while there is room', () => {
    const leftovers = [
      { name: 'old', writtenAtMs: NOW - 20 * HOUR },
      { name: 'new', writtenAtMs: NOW - 20 * HOUR + 1 },
    ];
    const plan = planGarbage({ ...inventory([]), leftovers }, rules, disk(0), NOW);
    assert.deepEqual(plan, { images: [], leftovers: ['old'] });
  });

  const anyImage = fc.record({
    n: fc.nat(30),
    hoursAgo: fc.nat(40),
    isUsed: fc.boolean(),
    data: fc.array(fc.constantFrom(...DATA), { maxLength: 4 }),
  });
  const anyDisk = fc.integer({ min: 0, max: 1000 });

  it('never takes what is used or young; takes no more than it must; older ones first', () => {
    const anyInventory = fc
      .uniqueArray(anyImage, { selector: (i) => i.n, maxLength: 12 })
      .map((found) => found.map((i) => image(i.n, i.hoursAgo, i.data, i.isUsed)));
    const anySizes = fc.dictionary(fc.constantFrom(...DATA), fc.nat(200));
    fc.assert(
      fc.property(anyInventory, anySizes, anyDisk, (found, sizes, used) => {
        const plan = planGarbage(inventory(found, sizes), rules, disk(used), NOW).images;
        const gone = plan.map((id) => found.find((i) => i.id === id));
        for (const one of gone) {
          assert.ok(one !== undefined && !one.isUsed && one.lastUsedAtMs <= NOW - 10 * HOUR);
        }
        if (used <= 850) assert.deepEqual(plan, []);
        const times = gone.map((one) => one?.lastUsedAtMs ?? 0);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        );
        // without the last of the plan the disk would still be too full
        const freed = freedBy(found, sizes, plan.slice(0, -1));
        if (plan.length > 0) assert.ok(used - freed > 800);
      }),
    );
  });
});

/** What is really free once some images are gone: told from what the others need. */
function freedBy(
  images: readonly InventoryImage[],
  sizes: Readonly<Record<string, number>>,
  gone: readonly Digest[],
): number {
  const kept = new Set(images.filter((i) => !gone.includes(i.id)).flatMap((i) => i.data));
  const lost = new Set(images.filter((i) => gone.includes(i.id)).flatMap((i) => i.data));
  return [...lost].filter((d) => !kept.has(d)).reduce((sum, d) => sum + (sizes[d] ?? 0), 0);
}
