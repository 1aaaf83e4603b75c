import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerSpec, DeepPartial } from '../../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig } from '../../../runtime/engine.js';
import { aContainer, runExec, runToEnd } from '../../support/container-rig.js';
import { CGROUP_VERSION, HOST_TOOLS, useContainerRig } from '../../support/container-suite.js';
import { requiresCommand } from '../../support/requires.js';

/** What Docker gives a container, bit by bit. */
const DEFAULT_CAPS = '00000000a80425fb';
const NAMESPACES = ['pid', 'mnt', 'uts', 'ipc', 'cgroup', 'net'];
const EPERM = '1';
const ENOSYS = '38';

/** System calls no ordinary container may make, with arguments that do nothing. */
const FORBIDDEN: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  x64: { keyctl: 250, mount: 165, bpf: 321, setns: 308, kexec_load: 246, init_module: 175 },
  arm64: { keyctl: 219, mount: 40, bpf: 280, setns: 268, kexec_load: 104, init_module: 105 },
};
const UNSHARE: Readonly<Record<string, number>> = { x64: 272, arm64: 97 };
const CLONE_NEWUSER = 0x10000000;

describe('containers on crun: isolation, seen from the inside', function () {
  const rig = useContainerRig();

  async function lines(
    id: string,
    script: string,
    spec: DeepPartial<ContainerSpec> = {},
    other: Partial<Omit<ContainerConfig, 'limits'>> = {},
  ): Promise<string[]> {
    const config = aContainer(id, ['sh', '-c', `exec 2>/dev/null; ${script}`], spec, other);
    const { output } = await runToEnd(rig().containers, config);
    return output.map((line) => line.replace('stdout: ', ''));
  }

  it('has every namespace but that of users to itself', async () => {
    const script = NAMESPACES.map((kind) => `readlink /proc/self/ns/${kind}`).join(';');
    const inside = await lines('own', script, {}, { netns: await rig().netns() });
    assert.equal(inside.length, NAMESPACES.length);
    NAMESPACES.forEach((kind, i) => {
      assert.match(inside[i] ?? '', new RegExp(`^${kind}:\\[\\d+\\]$`));
      assert.notEqual(inside[i], readlinkSync(`/proc/self/ns/${kind}`), kind);
    });
  });

  it('sees its own processes alone, and its command as the first of them', async () => {
    const seen = await lines('ps', 'ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm; ps | wc -l');
    assert.deepEqual(seen.slice(1, 2), ['sh']);
    assert.ok(Number(seen[0]) <= 4 && Number(seen[2]) <= 5, seen.join());
  });

  it('cannot read what is masked, nor write what is read-only', async () => {
    const masked = ['interrupts', 'kcore', 'keys', 'latency_stats', 'sched_debug', 'timer_list']
      .map((name) => `/proc/${name}`)
      .filter((file) => existsSync(file));
    const readOnly = [
      '/proc/sys/kernel/shmmax',
      '/proc/sysrq-trigger',
      '/proc/irq/default_smp_affinity',
    ];
    const folders = [
      '/proc/acpi',
      '/proc/scsi',
      '/sys/firmware',
      '/sys/devices/virtual/powercap',
    ].filter((folder) => existsSync(folder));
    const seen = await lines(
      'masked',
      [
        ...masked.map((file) => `wc -c < ${file}`),
        ...folders.map((folder) => `ls ${folder} | wc -l`),
        ...readOnly.map((file) => `echo 1 > ${file}; echo "$?"`),
        'touch /sys/kernel/x; echo $?',
      ].join(';'),
    );
    assert.deepEqual(seen, [
      ...masked.map(() => '0'),
      ...folders.map(() => '0'),
      ...readOnly.map(() => '1'),
      '1',
    ]);
  });

  describe('capabilities', () => {
    const STATUS = 'grep ^Cap /proc/self/status';

    it("are Docker's, exactly", async () => {
      assert.deepEqual(await lines('caps', STATUS), [
        'CapInh:\t0000000000000000',
        `CapPrm:\t${DEFAULT_CAPS}`,
        `CapEff:\t${DEFAULT_CAPS}`,
        `CapBnd:\t${DEFAULT_CAPS}`,
        'CapAmb:\t0000000000000000',
      ]);
    });

    it('are none for an ordinary user, who cannot get them back either', async () => {
      const [inherited, permitted, effective, bounding, ambient] = await lines('user', STATUS, {
        user: 'web',
      });
      assert.deepEqual(
        [inherited, permitted, effective, ambient].map((line) => line?.split('\t')[1]),
        ['0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000'],
      );
      assert.equal(bounding, `CapBnd:\t${DEFAULT_CAPS}`);
    });

    it('can all be dropped: root then makes no device, no mount and no other root', async () => {
      const script = [
        'busybox mknod /tmp/x c 1 3; echo $?',
        'mount -t tmpfs none /tmp; echo $?',
        'busybox chroot / true; echo $?',
        'chmod 777 /etc/passwd; echo $?',
        'busybox chown 33 /etc/passwd; echo $?',
        STATUS.replace('^Cap', '^CapEff'),
      ].join(';');
      const all = await lines('drop', script, { capabilityDrop: ['ALL'] });
      assert.deepEqual(all, ['1', '1', '1', '0', '1', 'CapEff:\t0000000000000000']);
      const one = await lines('keep', script, {
        capabilityDrop: ['ALL'],
        capabilityAdd: ['CHOWN'],
      });
      assert.deepEqual(one.slice(3), ['0', '0', 'CapEff:\t0000000000000001']);
    });
  });

  describe('system calls', () => {
    const numbers = FORBIDDEN[process.arch] ?? {};
    /** Prints the errno of each. */
    const program = [
      ...Object.values(numbers).map((number) => `show(syscall(${number}, 0, 0, 0, 0, 0))`),
      `show(syscall(${UNSHARE[process.arch] ?? 0}, ${CLONE_NEWUSER}))`,
    ].join('; ');
    const perl = `/usr/bin/perl -e 'sub show { print $_[0] == -1 ? $!+0 : 0, "\\n" } ${program}'`;
    const names = [...Object.keys(numbers), 'unshare'];

    before(function () {
      requiresCommand(this, 'perl');
      if (names.length === 1) this.skip();
    });

    it('that are forbidden are refused by the filter', async () => {
      const seen = await lines('calls', perl, {
        mounts: HOST_TOOLS,
        capabilityAdd: ['SYS_CHROOT'],
      });
      assert.deepEqual(
        Object.fromEntries(names.map((name, i) => [name, seen[i]])),
        Object.fromEntries(names.map((name) => [name, EPERM])),
      );
    });

    it('make no new namespace by any other way', async () => {
      const [clone, clone3] = process.arch === 'x64' ? [56, 435] : [220, 435];
      const script = `sub show { print $_[0] == -1 ? $!+0 : 0, "\\n" } show(syscall(${clone}, ${CLONE_NEWUSER}, 0, 0, 0, 0)); show(syscall(${clone3}, 0, 0)); show(fork ? 0 : exit)`;
      const seen = await lines('clone', `/usr/bin/perl -e '${script}'`, { mounts: HOST_TOOLS });
      assert.deepEqual(seen, [EPERM, ENOSYS, '0']);
    });

    it('are refused by the filter and not only for want of a capability', async () => {
      const free = await lines('free', perl, { mounts: HOST_TOOLS, seccomp: 'unconfined' });
      const at = (name: string): string | undefined => free[names.indexOf(name)];
      assert.notEqual(at('keyctl'), EPERM);
      assert.equal(at('unshare'), '0', 'anybody may make a user namespace without the filter');
    });

    it('are those of a profile of its own', async () => {
      const seccomp = JSON.stringify({
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }],
      });
      const seen = await lines('custom', 'mkdir /tmp/x; echo $?; touch /tmp/y; echo $?', {
        seccomp,
      });
      assert.deepEqual(seen, ['1', '0']);
    });
  });

  it('gains nothing from a setuid program when so asked, and its rights otherwise', async function () {
    requiresCommand(this, 'id');
    const script =
      'cp /usr/bin/id /tmp/id; chmod 4755 /tmp/id; busybox chmod 1777 /tmp; busybox setpriv --reuid=33 /tmp/id -u || /tmp/id -u';
    const asWeb = async (id: string, noNewPrivileges: boolean): Promise<string> => {
      const spec = { mounts: HOST_TOOLS, noNewPrivileges };
      const containers = rig().containers;
      await containers.create(aContainer(id, ['sleep', '1000'], spec));
      await containers.start(id);
      await runExec(containers, id, ['sh', '-c', script.split('; busybox')[0] ?? '']);
      return (await runExec(containers, id, ['/tmp/id', '-u'], { user: 'web' })).stdout.trim();
    };
    assert.equal(await asWeb('suid', false), '0');
    assert.equal(await asWeb('nnp', true), '33');
  });

  describe('devices', () => {
    // A number nothing is behind: an open that is allowed says "no such device" and not "refused".
    const PROBE = 'busybox mknod /probe c 1 12; echo $?; (exec 3<>/probe) 2>&1';

    it('can be made, but only harmless ones can be opened', async () => {
      const seen = await lines(
        'dev',
        `${PROBE}; echo x > /dev/null; echo $?; head -c 1 /dev/zero | wc -c`,
      );
      assert.equal(seen[0], '0');
      assert.match(seen[1] ?? '', /not permitted/i);
      assert.deepEqual(seen.slice(2), ['0', '1']);
    });

    it('can be opened by a rule', async () => {
      const seen = await lines('rule', PROBE, { deviceCgroupRules: ['c 1:12 rwm'] });
      assert.match(seen[1] ?? '', /no such device/i);
    });

    it('can be given for reading alone, under another name', async () => {
      const seen = await lines(
        'given',
        'ls -l /dev/given/full; echo x > /dev/given/full; echo $?',
        {
          devices: [
            { pathOnHost: '/dev/full', pathInContainer: '/dev/given/full', cgroupPermissions: 'r' },
          ],
        },
      );
      assert.match(seen[0] ?? '', /^c.* 1, +7 /);
      assert.equal(seen[1], '1');
    });

    it('are all those of a folder, and each once where a privileged one asks for it too', async () => {
      const folder = join(rig().root, 'devices');
      mkdirSync(join(folder, 'deep'), { recursive: true });
      execFileSync('mknod', [join(folder, 'deep/null'), 'c', '1', '3']);
      const devices = [
        { pathOnHost: folder, pathInContainer: '/dev/mine' },
        { pathOnHost: '/dev/full', pathInContainer: '/dev/full', cgroupPermissions: 'rw' },
      ];
      const script = 'echo x > /dev/mine/deep/null; echo $?; ls /dev/mine/deep';
      assert.deepEqual(await lines('folder', script, { devices }), ['0', 'null']);
      assert.deepEqual(await lines('both', script, { devices, privileged: true }), ['0', 'null']);
      await assert.rejects(
        rig().containers.create(aContainer('no', ['true'], { devices: [{ pathOnHost: '/etc' }] })),
        { kind: 'invalid-argument', message: /no device in the folder \/etc/ },
      );
    });

    it('are those of the machine for a privileged container, which hides nothing from it', async () => {
      const seen = await lines(
        'priv',
        'wc -c < /proc/interrupts; touch /proc/sys/kernel/shmmax; echo $?; ls /dev | wc -l; grep Seccomp: /proc/self/status',
        { privileged: true },
      );
      assert.notEqual(seen[0], '0');
      assert.equal(seen[1], '0');
      assert.equal(seen[3], 'Seccomp:\t0');
      const plain = await lines('plain', 'ls /dev | wc -l');
      if (existsSync('/dev/kmsg')) {
        const kmsg = await lines('kmsg', 'test -c /dev/kmsg; echo $?', { privileged: true });
        assert.deepEqual(kmsg, ['0']);
        assert.ok(Number(seen[2]) > Number(plain[0]));
      }
    });
  });

  it('sees its own cgroup as the root, and can write none', async () => {
    const folder = CGROUP_VERSION === 1 ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup';
    const limit = CGROUP_VERSION === 1 ? 'memory.limit_in_bytes' : 'memory.max';
    const script = [
      'busybox cut -d: -f3 /proc/self/cgroup | busybox sort -u',
      `busybox find ${folder} -type d | wc -l`,
      'for f in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do test -e $f && echo 0 > $f && echo $f; done',
      `mkdir ${folder}/x && echo made`,
      `echo 100000000 > ${folder}/${limit} && echo limited`,
      'mount -o remount,rw,bind /sys/fs/cgroup && echo mounted',
    ].join('; ');
    assert.deepEqual(await lines('cg', script), ['/', '1']);
  });

  it('cannot fill memory through the folder in which its cgroups lie', async () => {
    const script =
      'head -c 100000000 /dev/zero > /sys/fs/cgroup/x; echo $?; stat -c %s /sys/fs/cgroup/x';
    const [failed, size = '0'] = await lines('fill', script);
    assert.equal(failed, '1');
    assert.ok(Number(size) <= 1 << 20, size);
  });

  it('has the limits of processes and files it was given', async () => {
    const seen = await lines(
      'ulimit',
      'ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj',
      {
        ulimits: [
          { name: 'nofile', soft: 100, hard: 200 },
          { name: 'core', soft: 0, hard: 0 },
        ],
        oomScoreAdj: 321,
      },
    );
    assert.deepEqual(seen, ['100', '200', '0', '321']);
  });

  it('has kernel parameters of its own, and none of the machine', async () => {
    const netns = await rig().netns();
    const sysctls = {
      'net.ipv4.ip_forward': '1',
      'kernel.shmmni': '77',
      'fs.mqueue.msg_max': '33',
    };
    const files = ['net/ipv4/ip_forward', 'kernel/shmmni', 'fs/mqueue/msg_max'];
    const script = files.map((file) => `cat /proc/sys/${file}`).join(';');
    assert.deepEqual(await lines('sysctl', script, { sysctls }, { netns }), ['1', '77', '33']);
    await assert.rejects(
      rig().containers.create(aContainer('host', ['true'], { sysctls: { 'vm.swappiness': '1' } })),
      { kind: 'invalid-argument', message: /whole machine/ },
    );
    assert.equal(rig().containers.get('host'), undefined);
  });

  it('is a user with groups, and a root it cannot write', async () => {
    const seen = await lines('user', 'id -u; id -G; touch /x; echo $?; touch /tmp/x; echo $?', {
      user: 'web',
      groups: ['77'],
      readOnly: true,
      mounts: [{ type: 'MOUNT_TYPE_TMPFS', target: '/tmp' }],
    });
    assert.deepEqual(seen, ['33', '33 50 77', '1', '0']);
  });
});
