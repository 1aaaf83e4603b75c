import assert from 'node:assert/strict';
import { resolveUser } from '../../../../runtime/core/user.js';

const passwd = [
  'root:x:0:0:root:/root:/bin/sh',
  'web:x:33:34:web:/var/www:/bin/false',
  'broken line',
  '1000:x:7:8::/odd:',
].join('\n');
const group = ['root:x:0:', 'web:x:34:', 'log:x:50:web,root', 'audio:x:60:root'].join('\n');

describe('resolveUser', () => {
  const cases = [
    { user: '', want: { uid: 0, gid: 0, additionalGids: [50, 60], home: '/root' } },
    { user: 'web', want: { uid: 33, gid: 34, additionalGids: [50], home: '/var/www' } },
    { user: '33', want: { uid: 33, gid: 34, additionalGids: [50], home: '/var/www' } },
    { user: 'web:log', want: { uid: 33, gid: 50, additionalGids: [], home: '/var/www' } },
    { user: '5:6', want: { uid: 5, gid: 6, additionalGids: [], home: '/' } },
    { user: '5', want: { uid: 5, gid: 0, additionalGids: [], home: '/' } },
    { user: '1000', want: { uid: 7, gid: 8, additionalGids: [], home: '/odd' } },
  ];
  for (const { user, want } of cases) {
    it(`"${user}"`, () => {
      assert.deepEqual(resolveUser({ user, groups: [] }, passwd, group), want);
    });
  }

  it('adds groups by name and number, each once', () => {
    const { additionalGids } = resolveUser(
      { user: 'web', groups: ['audio', '50', '7'] },
      passwd,
      group,
    );
    assert.deepEqual(additionalGids, [7, 50, 60]);
  });

  it('needs no files for numbers', () => {
    assert.deepEqual(resolveUser({ user: '', groups: [] }, '', ''), {
      uid: 0,
      gid: 0,
      additionalGids: [],
      home: '/root',
    });
  });

  it('names what the image does not know', () => {
    for (const request of [
      { user: 'nobody', groups: [] },
      { user: 'web:nogroup', groups: [] },
      { user: 'web', groups: ['nogroup'] },
      { user: '99999999999', groups: [] },
      { user: '4294967295', groups: [] },
    ]) {
      assert.throws(() => resolveUser(request, passwd, group), { kind: 'invalid-argument' });
    }
  });
});
