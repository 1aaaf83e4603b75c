import assert from 'node:assert/strict';
import { findMount, isShared, mountPointsUnder, parseMountinfo } from '../../../linux/mountinfo.js';
import { fitsMountData, overlayData } from '../../../linux/overlay-options.js';

const MOUNTINFO = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
44 27 0:39 /sub /a\\040b/c rw,nosuid shared:4 master:2 - tmpfs tmpfs rw,mode=755
45 44 0:40 / /a\\040b/c rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/u,workdir=/w
46 45 0:4 net:[4026532242] /a\\040b/c/d rw - nsfs nsfs rw
this is no line of a mountinfo
`;

describe('mountinfo', () => {
  const entries = parseMountinfo(MOUNTINFO);

  it('is read with optional fields and escaped names', () => {
    assert.equal(entries.length, 5);
    assert.deepEqual(entries[2], {
      id: 44,
      root: '/sub',
      target: '/a b/c',
      propagation: ['shared:4', 'master:2'],
      type: 'tmpfs',
      source: 'tmpfs',
      superOptions: ['rw', 'mode=755'],
    });
    assert.deepEqual(entries.map(isShared), [false, true, true, false, false]);
  });

  it('shows the topmost of stacked mounts', () => {
    assert.equal(findMount(entries, '/a b/c')?.type, 'overlay');
    assert.equal(findMount(entries, '/a'), undefined);
  });

  it('lists mount points once, deepest last', () => {
    assert.deepEqual(mountPointsUnder(entries, '/a b'), ['/a b/c', '/a b/c/d']);
    assert.deepEqual(mountPointsUnder(entries, '/a b/c/d/'), ['/a b/c/d']);
    assert.deepEqual(mountPointsUnder(entries, '/a'), []);
    assert.deepEqual(mountPointsUnder(entries, '/'), ['/', '/proc', '/a b/c', '/a b/c/d']);
  });
});

describe('overlay options of mount(2)', () => {
  const request = (layers: number, length: number) => ({
    lowerDirs: Array.from(
      { length: layers },
      (_, i) => `/var/lib/layers/${i}${'x'.repeat(length)}`,
    ),
    upperDir: '/var/lib/up',
    workDir: '/var/lib/work',
    target: '/merged',
  });

  it('escape what separates', () => {
    assert.equal(
      overlayData({ ...request(0, 0), lowerDirs: ['/a:b', '/c,d\\e'] }),
      'lowerdir=/a\\:b:/c\\,d\\\\e,upperdir=/var/lib/up,workdir=/var/lib/work',
    );
  });

  it('are refused when they do not fit one page', () => {
    assert.equal(fitsMountData(request(100, 10)), true);
    assert.equal(fitsMountData(request(200, 10)), false);
    assert.throws(() => overlayData(request(400, 40)), {
      kind: 'resource-exhausted',
      message: /400 layers/,
    });
  });
});
