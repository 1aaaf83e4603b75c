import assert from 'node:assert/strict';
import { mountPointsBelow } from '../../../../runtime/core/mount-points.js';

const INFO = `21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 8:1 /var/lib/hatoba /var/lib/hatoba rw - ext4 /dev/sda1 rw
31 30 0:40 / /var/lib/hatoba/snapshots/a/rootfs rw - overlay overlay rw
32 30 0:40 / /var/lib/hatoba/snapshots/a/rootfs rw - overlay overlay rw
33 30 0:41 / /var/lib/hatoba/volumes/with\\040blank/_data rw - tmpfs tmpfs rw
34 30 0:42 / /var/lib/hatoba2 rw - tmpfs tmpfs rw
`;

describe('mount points', () => {
  it('are those below a folder, each once, with their blanks', () => {
    assert.deepEqual(mountPointsBelow('/var/lib/hatoba', Buffer.from(INFO)), [
      '/var/lib/hatoba/snapshots/a/rootfs',
      '/var/lib/hatoba/volumes/with blank/_data',
    ]);
  });
});
