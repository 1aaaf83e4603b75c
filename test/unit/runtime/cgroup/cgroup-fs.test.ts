import assert from 'node:assert/strict';
import { detectCgroups } from '../../../../runtime/cgroup/cgroup-fs.js';

const entry = (path: string, type: string, options: string): string =>
  `31 23 0:28 / ${path} rw,relatime - ${type} ${type} rw,${options}\n`;

describe('detectCgroups', () => {
  it('knows version 2', () => {
    assert.deepEqual(detectCgroups(entry('/sys/fs/cgroup', 'cgroup2', 'nsdelegate')), {
      version: 2,
      hybrid: false,
      roots: ['/sys/fs/cgroup'],
      memoryRoot: '/sys/fs/cgroup',
      controllers: Object.fromEntries(
        ['cpu', 'cpuacct', 'cpuset', 'memory', 'pids', 'blkio'].map((c) => [c, '/sys/fs/cgroup']),
      ),
    });
  });

  it('knows version 1, and the hybrid of both', () => {
    const v1 =
      entry('/sys/fs/cgroup', 'tmpfs', 'mode=755') +
      entry('/sys/fs/cgroup/cpu', 'cgroup', 'cpu,cpuacct') +
      entry('/sys/fs/cgroup/memory', 'cgroup', 'memory');
    const want = {
      version: 1,
      hybrid: false,
      roots: ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/memory'],
      memoryRoot: '/sys/fs/cgroup/memory',
      controllers: {
        cpu: '/sys/fs/cgroup/cpu',
        cpuacct: '/sys/fs/cgroup/cpu',
        memory: '/sys/fs/cgroup/memory',
      },
    };
    assert.deepEqual(detectCgroups(v1), want);
    assert.deepEqual(detectCgroups(v1 + entry('/sys/fs/cgroup/unified', 'cgroup2', 'nsdelegate')), {
      ...want,
      hybrid: true,
    });
  });

  it('says so when there are none', () => {
    assert.throws(() => detectCgroups(''), { kind: 'failed-precondition' });
  });
});
