import assert from 'node:assert/strict';
import fc from 'fast-check';
import { normalPath, planWantedMounts } from '../../../../runtime/core/mount-plan.js';
import { Mount } from '../../../../proto/gen/hatoba/v1/types.js';

const mount = Mount.fromPartial.bind(Mount);

describe('planWantedMounts', () => {
  it('checks, completes and sorts mounts so that parents come first', () => {
    const volume = { type: 'volume', copyUp: true, labels: {}, driverOpts: {} };
    const wanted = planWantedMounts(
      [
        mount({ type: 'MOUNT_TYPE_TMPFS', target: '/a/b/c/' }),
        mount({ type: 'MOUNT_TYPE_VOLUME', source: 'data', target: '/a/b', readOnly: true }),
        mount({ type: 'MOUNT_TYPE_BIND', source: '/x/../y', target: '/a' }),
      ],
      ['/a/b', '/cache'],
    );
    assert.deepEqual(wanted, [
      {
        type: 'bind',
        source: '/y',
        target: '/a',
        readOnly: false,
        propagation: 'rprivate',
        createSource: false,
      },
      { ...volume, name: '', target: '/cache', readOnly: false },
      { ...volume, name: 'data', target: '/a/b', readOnly: true },
      { type: 'tmpfs', target: '/a/b/c', readOnly: false, sizeBytes: 0, mode: 0o1777 },
    ]);
  });

  const wrong: [string, Parameters<typeof Mount.fromPartial>[0]][] = [
    ['a relative target', { type: 'MOUNT_TYPE_TMPFS', target: 'a' }],
    ['the root as target', { type: 'MOUNT_TYPE_TMPFS', target: '/a/..' }],
    ['a relative source', { type: 'MOUNT_TYPE_BIND', source: 'a', target: '/a' }],
    [
      'a volume name that leaves its folder',
      { type: 'MOUNT_TYPE_VOLUME', source: '../x', target: '/a' },
    ],
    [
      'an unknown propagation',
      { type: 'MOUNT_TYPE_BIND', source: '/x', target: '/a', bindOptions: { propagation: 'up' } },
    ],
  ];
  for (const [name, value] of wrong) {
    it(`refuses ${name}`, () => {
      assert.throws(() => planWantedMounts([mount(value)], []), { kind: 'invalid-argument' });
    });
  }

  it('refuses two mounts on one target', () => {
    const same = mount({ type: 'MOUNT_TYPE_TMPFS', target: '/a' });
    assert.throws(() => planWantedMounts([same, { ...same, target: '/a/' }], []), {
      message: /two mounts have the target \/a/,
    });
  });
});

describe('normalPath', () => {
  it('never climbs above the root and is settled after one pass', () => {
    const part = fc.constantFrom('..', '.', '', 'a', 'b');
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const path = normalPath(`/${parts.join('/')}`) ?? '';
        assert.match(path, /^\/([ab](\/[ab])*)?$/);
        assert.equal(normalPath(path), path);
      }),
    );
  });
});
