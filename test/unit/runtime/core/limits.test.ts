import assert from 'node:assert/strict';
import { pickCapabilities, parseCapabilityMask } from '../../../../runtime/core/capabilities.js';
import { DEFAULT_CAPABILITIES } from '../../../../runtime/core/capabilities.js';
import { parseHardLimits, planRlimits } from '../../../../runtime/core/rlimits.js';
import { parseSignal } from '../../../../common/model/signals.js';

const none = { add: [], drop: [], privileged: false };

describe('pickCapabilities', () => {
  const available = new Set([...DEFAULT_CAPABILITIES, 'CAP_NET_ADMIN']);

  it("gives Docker's default set", () => {
    assert.deepEqual(pickCapabilities(none, available), DEFAULT_CAPABILITIES);
  });

  it('adds and drops by any spelling', () => {
    const caps = pickCapabilities(
      { add: ['net_admin'], drop: ['CAP_CHOWN', 'kill'], privileged: false },
      available,
    );
    assert.ok(caps.includes('CAP_NET_ADMIN'));
    assert.ok(!caps.includes('CAP_CHOWN') && !caps.includes('CAP_KILL'));
  });

  it('drops all but what is added by name', () => {
    assert.deepEqual(
      pickCapabilities({ add: ['CHOWN'], drop: ['ALL'], privileged: false }, available),
      ['CAP_CHOWN'],
    );
  });

  it('adds all but what is dropped by name, never more than the engine has', () => {
    const caps = pickCapabilities({ add: ['ALL'], drop: ['CHOWN'], privileged: false }, available);
    assert.deepEqual(new Set([...caps, 'CAP_CHOWN']), available);
  });

  it('names what the engine lacks, and what nobody knows', () => {
    assert.throws(() => pickCapabilities({ ...none, add: ['SYS_RESOURCE'] }, available), {
      kind: 'failed-precondition',
    });
    assert.throws(() => pickCapabilities({ ...none, add: ['FLY'] }, available), {
      kind: 'invalid-argument',
    });
  });

  it('reads the mask of the kernel', () => {
    assert.deepEqual([...parseCapabilityMask('0000000000000021')], ['CAP_CHOWN', 'CAP_KILL']);
  });
});

describe('planRlimits', () => {
  const own = parseHardLimits(
    [
      'Limit                     Soft Limit           Hard Limit           Units     ',
      'Max open files            1024                 20000                files     ',
      'Max core file size        0                    unlimited            bytes     ',
      '',
    ].join('\n'),
  );

  it("reads the kernel's table", () => {
    assert.deepEqual(
      [...own],
      [
        ['core', 'unlimited'],
        ['nofile', 20_000],
      ],
    );
  });

  it('lowers what is above the own hard limit', () => {
    assert.deepEqual(
      planRlimits(
        [
          { name: 'nofile', soft: 30_000, hard: 40_000 },
          { name: 'core', soft: 0, hard: -1 },
        ],
        own,
      ),
      [
        { type: 'RLIMIT_NOFILE', soft: 20_000, hard: 20_000 },
        { type: 'RLIMIT_CORE', soft: 0, hard: 'unlimited' },
      ],
    );
  });

  it('refuses nonsense', () => {
    for (const wrong of [
      { name: 'files', soft: 1, hard: 1 },
      { name: 'constructor', soft: 1, hard: 1 },
      { name: 'nofile', soft: 2, hard: 1 },
      { name: 'nofile', soft: -1, hard: 1 },
    ]) {
      assert.throws(() => planRlimits([wrong], own), { kind: 'invalid-argument' });
    }
  });
});

describe('parseSignal', () => {
  const cases: [string, number][] = [
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
  ];
  for (const [text, want] of cases) it(text, () => assert.equal(parseSignal(text), want));

  it('refuses what is none', () => {
    for (const wrong of ['', 'SIGNOTHING', '0', '65', '-1', 'RTMIN-1', 'RTMIN+40']) {
      assert.throws(() => parseSignal(wrong), { kind: 'invalid-argument' }, wrong);
    }
  });
});
