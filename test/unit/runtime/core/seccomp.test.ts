import assert from 'node:assert/strict';
import {
  parseSeccompProfile,
  resolveSeccomp,
  tightenProfile,
} from '../../../../runtime/core/seccomp.js';

const profile = parseSeccompProfile(
  JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    archMap: [
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
      { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: null },
    ],
    syscalls: [
      { names: ['read'], action: 'SCMP_ACT_ALLOW', args: [], includes: {}, excludes: {} },
      { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
      {
        names: ['mount'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 1,
        excludes: { caps: ['CAP_SYS_ADMIN'] },
      },
      { names: ['arch_prctl'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['amd64', 'x32'] } },
      { names: ['ptrace'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
      { names: ['old'], action: 'SCMP_ACT_ALLOW', excludes: { arches: ['amd64'] } },
    ],
  }),
  'test',
);
const kernel = { major: 6, minor: 1 };

function names(target: Parameters<typeof resolveSeccomp>[1]): string[] {
  return resolveSeccomp(profile, target).syscalls.map((s) => `${s.names.join()} ${s.action}`);
}

describe('resolveSeccomp', () => {
  it('settles conditions on capabilities, architecture and kernel', () => {
    assert.deepEqual(names({ capabilities: [], arch: 'x64', kernel }), [
      'read SCMP_ACT_ALLOW',
      'mount SCMP_ACT_ERRNO',
      'arch_prctl SCMP_ACT_ALLOW',
      'ptrace SCMP_ACT_ALLOW',
    ]);
    assert.deepEqual(
      names({ capabilities: ['CAP_SYS_ADMIN'], arch: 'arm64', kernel: { major: 4, minor: 7 } }),
      ['read SCMP_ACT_ALLOW', 'mount SCMP_ACT_ALLOW', 'old SCMP_ACT_ALLOW'],
    );
  });

  it('keeps defaults, error numbers and the architectures of the machine', () => {
    const oci = resolveSeccomp(profile, { capabilities: [], arch: 'x64', kernel });
    assert.equal(oci.defaultErrnoRet, 38);
    assert.deepEqual(oci.architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
    assert.deepEqual(oci.syscalls[0], { names: ['read'], action: 'SCMP_ACT_ALLOW' });
    assert.equal(oci.syscalls[1]?.errnoRet, 1);
  });

  it('takes only profiles', () => {
    for (const text of ['{', '[]', '{}', '{"defaultAction":"x","syscalls":[{"names":"read"}]}']) {
      assert.throws(() => parseSeccompProfile(text, 'here'), {
        kind: 'invalid-argument',
        message: /^here: /,
      });
    }
  });
});

describe('tightenProfile', () => {
  const loose = parseSeccompProfile(
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      syscalls: [
        { names: ['read', 'clone', 'clone3', 'unshare', 'keyctl'], action: 'SCMP_ACT_ALLOW' },
        { names: ['setns'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { name: 'mount', action: 'SCMP_ACT_ALLOW' },
      ],
    }),
    'test',
  );
  const verdicts = (call: string, capabilities: string[]): string[] =>
    resolveSeccomp(tightenProfile(loose), { capabilities, arch: 'x64', kernel })
      .syscalls.filter((rule) => rule.names.includes(call))
      .map(
        (rule) => `${rule.action} ${rule.errnoRet ?? ''}${rule.args === undefined ? '' : 'args'}`,
      );

  for (const call of ['unshare', 'mount', 'setns', 'move_mount']) {
    it(`keeps ${call} for administrators`, () => {
      assert.deepEqual(verdicts(call, []), ['SCMP_ACT_ERRNO 1']);
      assert.deepEqual(verdicts(call, ['CAP_SYS_ADMIN']), ['SCMP_ACT_ALLOW ']);
    });
  }

  it('keeps keys from all, and lets the rest be', () => {
    for (const capabilities of [[], ['CAP_SYS_ADMIN']]) {
      assert.deepEqual(verdicts('keyctl', capabilities), ['SCMP_ACT_ERRNO 1']);
      assert.deepEqual(verdicts('read', capabilities), ['SCMP_ACT_ALLOW ']);
    }
  });

  it('lets processes be made, but no namespaces with them', () => {
    assert.deepEqual(verdicts('clone3', []), ['SCMP_ACT_ERRNO 38']);
    const [first, ...flags] = verdicts('clone', []);
    assert.equal(first, 'SCMP_ACT_ALLOW args');
    assert.deepEqual(
      flags,
      Array.from({ length: 7 }, () => 'SCMP_ACT_ERRNO 1args'),
    );
    const { syscalls } = resolveSeccomp(tightenProfile(loose), {
      capabilities: [],
      arch: 'x64',
      kernel,
    });
    const masks = syscalls.flatMap((rule) =>
      rule.names.includes('clone') ? (rule.args?.map((arg) => arg.value) ?? []) : [],
    );
    assert.equal(masks[0], 0x7e020000, "Docker's mask");
    assert.equal(
      masks.slice(1).reduce((sum, mask) => sum + mask, 0),
      masks[0],
    );
    assert.deepEqual(verdicts('clone', ['CAP_SYS_ADMIN']), ['SCMP_ACT_ALLOW ']);
  });
});
