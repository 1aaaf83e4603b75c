import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import {
  fileLines,
  parseDevice,
  parseHost,
  parsePair,
  parseRestart,
  parseUlimit,
} from '../../../../cli/words/container.js';
import { parseMount, parseTmpfs, parseVolume } from '../../../../cli/words/mounts.js';
import { parsePorts } from '../../../../cli/words/ports.js';
import { PublishMode } from '../../../../proto/gen/hatoba/v1/types.js';

const PARSERS: readonly [string, (text: string) => unknown][] = [
  ['ports', (text) => parsePorts(text, PublishMode.HOST)],
  ['volumes', (text) => parseVolume(text, '/base')],
  ['mounts', (text) => parseMount(text, '/base')],
  ['tmpfs', parseTmpfs],
  ['devices', parseDevice],
  ['ulimits', parseUlimit],
  ['hosts', parseHost],
  ['restart rules', parseRestart],
  ['pairs', (text) => parsePair(text, '--label')],
];

describe('the words of docker run', () => {
  it('name devices', () => {
    assert.deepEqual(parseDevice('/dev/fuse'), {
      pathOnHost: '/dev/fuse',
      pathInContainer: '/dev/fuse',
      cgroupPermissions: 'rwm',
    });
    assert.equal(parseDevice('/dev/fuse:r').cgroupPermissions, 'r');
    assert.deepEqual(parseDevice('/dev/sda:/dev/x:rw'), {
      pathOnHost: '/dev/sda',
      pathInContainer: '/dev/x',
      cgroupPermissions: 'rw',
    });
    for (const wrong of ['fuse', '/dev/a:/dev/b:x', '/dev/a:/dev/b:r:w', '']) {
      assert.throws(() => parseDevice(wrong), { kind: 'invalid-argument' }, wrong);
    }
  });

  it('name limits, hosts and restart rules', () => {
    assert.deepEqual(parseUlimit('nofile=10:20'), { name: 'nofile', soft: 10, hard: 20 });
    assert.deepEqual(parseUlimit('core=-1'), { name: 'core', soft: -1, hard: -1 });
    assert.equal(parseHost('db:10.0.0.5'), '10.0.0.5 db');
    assert.equal(parseHost('six=[fe80::1]'), 'fe80::1 six');
    assert.deepEqual(parseRestart('on-failure:3'), { name: 'on-failure', maximumRetryCount: 3 });
    assert.deepEqual(parseRestart('always'), { name: 'always', maximumRetryCount: 0 });
    assert.throws(() => parseRestart('always:3'), /is not a restart rule/);
  });

  it('name mounts, long and short', () => {
    const bind = parseMount('type=bind,src=./conf,dst=/etc/x,ro,bind-propagation=rslave', '/srv');
    assert.deepEqual(
      [bind.type, bind.source, bind.target, bind.readOnly, bind.bindOptions?.propagation],
      ['MOUNT_TYPE_BIND', '/srv/conf', '/etc/x', true, 'rslave'],
    );
    const volume = parseMount('source=data,target=/d,volume-label=a=1,volume-label=b=2', '/');
    assert.deepEqual(volume.volumeOptions?.labels, { a: '1', b: '2' });
    const memory = parseTmpfs('/run:size=64m,mode=700,noexec');
    assert.deepEqual(memory.tmpfsOptions, { sizeBytes: 64 * 2 ** 20, mode: 0o700 });
    assert.equal(parseVolume('data:/d:ro', '/').type, 'MOUNT_TYPE_VOLUME');
    for (const wrong of ['type=bind,target=/x', 'target=x', 'type=no,target=/x', 'dst=/x,bad=1']) {
      assert.throws(() => parseMount(wrong, '/'), { kind: 'invalid-argument' }, wrong);
    }
  });

  it('come from files too, without comments', () => {
    assert.deepEqual(fileLines('# no\nA=1\r\n\n  B\n'), ['A=1', 'B']);
  });

  for (const [what, parse] of PARSERS) {
    it(`of ${what} are read, or refused with a reason, whatever they are`, () => {
      const piece = fc.constantFrom(
        'type=',
        'bind',
        'src=',
        '/a',
        ':',
        ',',
        '=',
        '-',
        '80',
        'ro',
        '',
      );
      const text = fc.oneof(
        fc.string(),
        fc.array(piece).map((parts) => parts.join('')),
      );
      fc.assert(
        fc.property(text, (input) => {
          try {
            parse(input);
          } catch (error) {
            assert.ok(error instanceof HatobaError && error.kind === 'invalid-argument');
            assert.ok(error.message.length > 10);
          }
        }),
      );
    });
  }
});
