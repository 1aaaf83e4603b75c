import assert from 'node:assert/strict';
import { buildBundle, withSeccomp, type BundleInput } from '../../../../runtime/core/bundle.js';
import { DEFAULT_CAPABILITIES } from '../../../../runtime/core/capabilities.js';
import { NO_THROTTLES } from '../../../../runtime/core/cgroup-plan.js';
import type { ImageConfig } from '../../../../runtime/core/image-config.js';
import { parseNamespaceModes } from '../../../../runtime/core/namespace-plan.js';
import { formatOciJson } from '../../../../runtime/core/oci-spec.js';
import { ContainerSpec, Limit } from '../../../../proto/gen/hatoba/v1/types.js';

const image: ImageConfig = {
  architecture: 'amd64',
  os: 'linux',
  entrypoint: ['/entry'],
  cmd: ['serve'],
  env: ['PATH=/bin', 'MODE=image'],
  workingDir: '/srv',
  user: '',
  exposedPorts: [],
  volumes: [],
  stopSignal: '',
  healthcheck: undefined,
  labels: {},
};

function input(
  partial: Parameters<typeof ContainerSpec.fromPartial>[0],
  other: Partial<BundleInput> & { netns?: string } = {},
): BundleInput {
  const { netns = '/run/netns/a', ...rest } = other;
  const spec = ContainerSpec.fromPartial(partial);
  return {
    id: '0123456789abcdef',
    spec,
    limits: Limit.fromPartial({}),
    throttles: NO_THROTTLES,
    modes: parseNamespaceModes(spec, netns),
    namespaces: netns.startsWith('/') ? { network: netns } : {},
    sharedMemory: { kind: 'own', sizeBytes: spec.shmSizeBytes },
    cgroupParent: '/hatoba',
    cgroupGroup: 'web',
    image,
    rootDir: '/state/root',
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root' },
    mounts: [],
    files: { '/etc/hosts': '/state/etc/hosts' },
    devices: [],
    host: {
      capabilities: new Set([...DEFAULT_CAPABILITIES, 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN']),
      hardLimits: new Map([['nofile', 20_000]]),
      swapLimit: true,
      cgroupVersion: 1,
      cpus: '0-1',
      mems: '0',
      hostname: 'the-machine',
    },
    ...rest,
  };
}

describe('buildBundle', () => {
  it('writes all of a plain container', () => {
    const spec = buildBundle(
      input(
        {},
        { limits: Limit.fromPartial({ nanoCpus: 500_000_000, memoryBytes: 64 << 20, pids: 20 }) },
      ),
    );
    const { devices, ...resources } = spec.linux.resources;
    assert.deepEqual(devices[0], { allow: false, access: 'rwm' });
    assert.deepEqual(resources, {
      memory: { limit: 67_108_864, swap: 67_108_864 },
      cpu: { quota: 50_000, period: 100_000 },
      pids: { limit: 20 },
    });
    assert.deepEqual(spec.process, {
      terminal: false,
      user: { uid: 0, gid: 0, additionalGids: [] },
      args: ['/entry', 'serve'],
      env: ['PATH=/bin', 'HOSTNAME=0123456789ab', 'MODE=image', 'HOME=/root'],
      cwd: '/srv',
      capabilities: {
        bounding: DEFAULT_CAPABILITIES,
        effective: DEFAULT_CAPABILITIES,
        permitted: DEFAULT_CAPABILITIES,
        inheritable: [],
      },
      rlimits: [],
      noNewPrivileges: false,
      oomScoreAdj: 0,
    });
    assert.deepEqual(spec.root, { path: '/state/root', readonly: false });
    assert.equal(spec.hostname, '0123456789ab');
    assert.equal(spec.linux.cgroupsPath, '/hatoba/web/0123456789abcdef');
    assert.deepEqual(spec.linux.namespaces, [
      { type: 'mount' },
      { type: 'pid' },
      { type: 'ipc' },
      { type: 'network', path: '/run/netns/a' },
      { type: 'uts' },
      { type: 'cgroup' },
    ]);
    assert.ok(spec.linux.maskedPaths.includes('/proc/kcore'));
    assert.ok(spec.linux.readonlyPaths.includes('/proc/sys'));
    assert.deepEqual(
      spec.mounts.map((m) => m.destination),
      [
        '/proc',
        '/dev',
        '/dev/pts',
        '/sys',
        '/sys/fs/cgroup',
        '/dev/mqueue',
        '/dev/shm',
        '/etc/hosts',
      ],
    );
  });

  it('gives a privileged container what the engine has, and hides nothing from it', () => {
    const spec = buildBundle(input({ privileged: true }));
    assert.ok(spec.process.capabilities.effective.includes('CAP_SYS_ADMIN'));
    assert.deepEqual(spec.linux.maskedPaths, []);
    assert.deepEqual(spec.linux.readonlyPaths, []);
    assert.deepEqual(spec.linux.resources.devices, [{ allow: true, type: 'a', access: 'rwm' }]);
    assert.ok(!spec.linux.namespaces.some((n) => n.type === 'cgroup'));
    assert.ok(spec.mounts.find((m) => m.destination === '/sys')?.options.includes('rw'));
  });

  it("leaves the host's network alone when asked to", () => {
    const { namespaces } = buildBundle(input({}, { netns: 'host' })).linux;
    assert.ok(!namespaces.some((n) => n.type === 'network'));
  });

  it('shares what it is asked to share', () => {
    const spec = buildBundle(
      input(
        { pidMode: 'container:other', ipcMode: 'container:other', utsMode: 'host' },
        {
          namespaces: { pid: '/proc/7/ns/pid', ipc: '/proc/7/ns/ipc', network: '/run/netns/a' },
          sharedMemory: { kind: 'shared', source: '/state/other/shm' },
        },
      ),
    );
    assert.deepEqual(spec.linux.namespaces, [
      { type: 'mount' },
      { type: 'pid', path: '/proc/7/ns/pid' },
      { type: 'ipc', path: '/proc/7/ns/ipc' },
      { type: 'network', path: '/run/netns/a' },
      { type: 'cgroup' },
    ]);
    assert.equal(spec.hostname, undefined);
    assert.ok(spec.process.env.includes('HOSTNAME=the-machine'));
    const shm = spec.mounts.find((m) => m.destination === '/dev/shm');
    assert.equal(shm?.source, '/state/other/shm');
  });

  it('has no shared memory when so asked', () => {
    const spec = buildBundle(input({ ipcMode: 'none' }, { sharedMemory: { kind: 'none' } }));
    assert.ok(!spec.mounts.some((m) => m.destination === '/dev/shm'));
  });

  it('adds device rules after the usual ones, where they win', () => {
    const { devices } = buildBundle(input({ deviceCgroupRules: ['b *:* m', 'c 10:200 rw'] })).linux
      .resources;
    assert.deepEqual(devices.slice(-2), [
      { allow: true, type: 'b', access: 'm' },
      { allow: true, type: 'c', major: 10, minor: 200, access: 'rw' },
    ]);
  });

  it('is killed sooner or later when memory runs out, as far as the engine may say so', () => {
    const score = (oomScoreAdj: number, other: Partial<BundleInput> = {}): number | undefined =>
      buildBundle(input({ oomScoreAdj }, other)).process.oomScoreAdj;
    assert.equal(score(500), 500);
    assert.throws(() => score(1001), { kind: 'invalid-argument' });
    assert.throws(() => score(-5), { kind: 'failed-precondition' });
    const { host } = input({});
    const capabilities = new Set([...host.capabilities, 'CAP_SYS_RESOURCE']);
    assert.equal(score(-5, { host: { ...host, capabilities } }), -5);
  });

  it('takes over the options of the container', () => {
    const spec = buildBundle(
      input({
        hostname: 'box',
        domainname: 'example.org',
        readOnly: true,
        noNewPrivileges: true,
        tty: true,
        init: true,
        shmSizeBytes: 1024,
        sysctls: { 'net.core.somaxconn': '100' },
        ulimits: [{ name: 'nofile', soft: 100, hard: -1 }],
      }),
    );
    assert.equal(spec.hostname, 'box');
    assert.deepEqual(spec.linux.sysctl, {
      'kernel.domainname': 'example.org',
      'net.core.somaxconn': '100',
    });
    assert.equal(spec.root.readonly, true);
    assert.equal(spec.process.noNewPrivileges, true);
    assert.equal(spec.process.terminal, true);
    assert.ok(spec.process.env.includes('TERM=xterm'));
    assert.deepEqual(spec.process.args, ['/dev/hatoba-init', '--', '/entry', 'serve']);
    assert.deepEqual(spec.process.rlimits, [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 20_000 }]);
    assert.ok(spec.mounts.find((m) => m.destination === '/dev/shm')?.options.includes('size=1024'));
  });

  it("lets a mount take the place of the engine's own at the same target", () => {
    const spec = buildBundle(
      input(
        {},
        {
          mounts: [
            {
              type: 'bind',
              source: '/my/hosts',
              target: '/etc/hosts',
              readOnly: true,
              propagation: 'rslave',
            },
          ],
        },
      ),
    );
    const hosts = spec.mounts.filter((m) => m.destination === '/etc/hosts');
    assert.deepEqual(hosts, [
      {
        destination: '/etc/hosts',
        type: 'bind',
        source: '/my/hosts',
        options: ['rbind', 'rslave', 'ro'],
      },
    ]);
    assert.equal(spec.linux.rootfsPropagation, 'rslave');
  });
});

describe('withSeccomp', () => {
  const spec = buildBundle(input({}));

  it('hands a compiled program over by annotation', () => {
    const { annotations, linux } = withSeccomp(spec, { bpf: 'QUJD' });
    assert.deepEqual(annotations, { 'run.oci.seccomp_bpf_data': 'QUJD' });
    assert.equal(linux.seccomp, undefined);
  });

  it('leaves an unconfined container without one', () => {
    assert.deepEqual(withSeccomp(spec, undefined), spec);
  });
});

describe('formatOciJson', () => {
  it('writes "unlimited" as 2^64-1, digit by digit', () => {
    const { process } = buildBundle(input({}));
    const text = formatOciJson({
      ...process,
      rlimits: [{ type: 'RLIMIT_CORE', soft: 0, hard: 'unlimited' }],
    });
    assert.match(
      text,
      /"rlimits":\[\{"type":"RLIMIT_CORE","soft":0,"hard":18446744073709551615\}\]/,
    );
    assert.deepEqual((JSON.parse(text) as { args: string[] }).args, ['/entry', 'serve']);
  });

  it('writes a whole configuration that reads back the same', () => {
    const spec = buildBundle(input({}));
    assert.deepEqual(JSON.parse(formatOciJson(spec)), JSON.parse(JSON.stringify(spec)));
  });
});
