import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { errnoError, errnoName, kindOfErrno } from '../../../linux/errno.js';

describe('errno', () => {
  it('has the name people know, and a kind that callers act on', () => {
    const cases = [
      { errno: constants.errno.ENOENT, name: 'ENOENT', kind: 'not-found' },
      { errno: constants.errno.ENODEV, name: 'ENODEV', kind: 'not-found' },
      { errno: constants.errno.EEXIST, name: 'EEXIST', kind: 'already-exists' },
      { errno: constants.errno.EPERM, name: 'EPERM', kind: 'permission-denied' },
      { errno: constants.errno.EOPNOTSUPP, name: 'EOPNOTSUPP', kind: 'unimplemented' },
      { errno: constants.errno.EAGAIN, name: 'EAGAIN', kind: 'unavailable' },
      { errno: 9999, name: 'errno 9999', kind: 'internal' },
    ] as const;
    for (const { errno, name, kind } of cases) {
      assert.equal(errnoName(errno), name);
      assert.equal(kindOfErrno(errno), kind);
    }
  });

  it('becomes an error that names action, errno and reason', () => {
    const error = errnoError('mounting x on /y', constants.errno.EBUSY, 'in use');
    assert.equal(error.message, 'mounting x on /y: EBUSY (in use)');
    assert.deepEqual([error.kind, error.detail['errno']], ['failed-precondition', 'EBUSY']);
  });
});
