import assert from 'node:assert/strict';
import { parseSeccompProfile, resolveSeccomp } from '../../../../runtime/core/seccomp.js';

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
