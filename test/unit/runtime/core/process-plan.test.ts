import assert from 'node:assert/strict';
import fc from 'fast-check';
import { mergeEnv, planArgs, planCwd, planEnv } from '../../../../runtime/core/process-plan.js';

describe('planArgs', () => {
  const image = { entrypoint: ['/e'], cmd: ['c'] };
  const cases = [
    { name: 'image alone', command: [], args: [], want: ['/e', 'c'] },
    { name: 'args replace the command', command: [], args: ['x'], want: ['/e', 'x'] },
    { name: 'a command discards both', command: ['/mine'], args: [], want: ['/mine'] },
    { name: 'both', command: ['/mine'], args: ['x'], want: ['/mine', 'x'] },
  ];
  for (const { name, command, args, want } of cases) {
    it(name, () => {
      assert.deepEqual(planArgs({ command, args, init: false }, image), want);
    });
  }

  it('refuses to run nothing', () => {
    assert.throws(
      () => planArgs({ command: [], args: [], init: false }, { entrypoint: [], cmd: [] }),
      { kind: 'invalid-argument', message: /nothing to run/ },
    );
  });
});

describe('planEnv', () => {
  const base = { hostname: 'h', home: '/home/u', tty: false };

  it('lets the container win over the image, and both over the defaults', () => {
    assert.deepEqual(
      planEnv({ ...base, image: ['A=1', 'B=1'], own: ['B=2', 'HOME=/x', 'PATH=/p'] }),
      ['PATH=/p', 'HOSTNAME=h', 'A=1', 'B=2', 'HOME=/x'],
    );
  });

  it('takes a variable away by its bare name', () => {
    assert.ok(!planEnv({ ...base, image: ['A=1'], own: ['A'] }).some((e) => e.startsWith('A=')));
  });
});

describe('mergeEnv', () => {
  it('keeps each name once, with the last value', () => {
    const entry = fc.tuple(fc.constantFrom('A', 'B', 'C'), fc.string()).map((p) => p.join('='));
    fc.assert(
      fc.property(fc.array(entry), fc.array(entry), (first, second) => {
        const merged = mergeEnv(first, second);
        const names = merged.map((e) => e.slice(0, e.indexOf('=')));
        assert.equal(new Set(names).size, names.length);
        for (const e of merged) {
          const same = [...first, ...second].filter((o) => o.startsWith(e.slice(0, 2)));
          assert.equal(e, same.at(-1));
        }
      }),
    );
  });
});

describe('planCwd', () => {
  it('is the container’s, the image’s, or the root', () => {
    assert.equal(planCwd('/a', '/b'), '/a');
    assert.equal(planCwd('', '/b'), '/b');
    assert.equal(planCwd('', ''), '/');
    assert.throws(() => planCwd('a', ''), { kind: 'invalid-argument' });
  });
});
