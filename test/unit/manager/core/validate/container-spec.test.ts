import assert from 'node:assert/strict';
import { checkContainer } from '../../../../../manager/core/validate/container-spec.js';
import { Problems } from '../../../../../manager/core/validate/problem.js';
import { ContainerSpec, MountType } from '../../../../../proto/gen/hatoba/v1/types.js';
import type { Some } from '../../../../support/builders.js';

const { BIND, VOLUME, TMPFS } = MountType;

function problemsOf(some: Some<ContainerSpec>): string[] {
  const problems = new Problems();
  checkContainer(ContainerSpec.fromPartial({ image: 'web:1', ...some }), problems);
  return problems.list.map((p) => `${p.path}: ${p.message}`);
}

const CASES: readonly [string, Some<ContainerSpec>, string[]][] = [
  [
    'all that a container can have',
    {
      labels: { 'com.example/tier': 'a' },
      ...{ command: ['sh'], args: ['-c', 'x'], env: ['A=', 'B'], dir: '/srv' },
      ...{ user: 'www-data:1000', groups: ['audio', '5'], stopSignal: 'RTMIN+3' },
      ...{ hostname: 'web-1.example', domainname: 'example.org' },
      hosts: ['10.0.0.1 a b.example', '2001:db8::1 c'],
      ...{ capabilityAdd: ['NET_ADMIN', 'all'], capabilityDrop: ['cap_chown'] },
      sysctls: { 'net.ipv4.ip_forward': '1', 'net/ipv4/conf/eth0.5/forwarding': '1' },
      ulimits: [
        { name: 'nofile', soft: 10, hard: -1 },
        { name: 'core', soft: 0, hard: 0 },
      ],
      devices: [{ pathOnHost: '/dev/fuse', cgroupPermissions: 'rw' }],
      seccomp: '{"defaultAction": "SCMP_ACT_ALLOW"}',
      healthcheck: { test: ['CMD', 'true'], intervalMs: 1000, retries: 2 },
      mounts: [
        { type: BIND, source: '/a', target: '/a', bindOptions: { propagation: 'rshared' } },
        {
          ...{ type: VOLUME, target: '/b', source: 'data' },
          volumeOptions: { driver: 'local', driverOpts: { type: 'tmpfs', device: 'tmpfs', o: '' } },
        },
        { type: TMPFS, target: '/c', tmpfsOptions: { sizeBytes: 1 << 20, mode: 0o1777 } },
      ],
    },
    [],
  ],
  [
    'a process that cannot be started',
    {
      ...{ image: 'Web:1', command: ['a\0b'], env: ['=x', 'A=\0'], dir: 'srv' },
      ...{ user: 'a:b:c', groups: ['a b'], stopSignal: 'SIGNOPE' },
      labels: { '': 'x', 'a b': 'y' },
    },
    [
      'image: "Web:1" is not an image reference',
      'labels: "" is not the name of a label',
      'labels: "a b" is not the name of a label',
      'command[0]: has a NUL in it',
      'env[0]: "=x" is not NAME=value',
      'env[1]: has a NUL in it',
      'dir: "srv" is not an absolute path',
      'user: "a:b:c" is not USER or USER:GROUP, by number or name',
      'groups[0]: "a b" is not a group',
      'stopSignal: "SIGNOPE" is not a signal; write SIGTERM or 15',
    ],
  ],
  [
    'names that nobody can have',
    { hostname: '-web', domainname: 'a b', hosts: ['a 10.0.0.1', '10.0.0.1'] },
    [
      'hostname: "-web" is not a host name: letters, digits, "-", "_" and ".", at most 64 characters',
      'domainname: "a b" is not a domain name',
      'hosts[0]: "a 10.0.0.1" is not ADDRESS NAME…, as /etc/hosts has it',
      'hosts[1]: "10.0.0.1" is not ADDRESS NAME…, as /etc/hosts has it',
    ],
  ],
  [
    'rights that do not exist',
    {
      ...{ capabilityAdd: ['FLY'], capabilityDrop: ['CAP_FLY'] },
      sysctls: { 'vm.swappiness': '1', x: '1', 'kernel.hostname': 'a' },
      ulimits: [
        { name: 'files', soft: 1, hard: 1 },
        { name: 'nofile', soft: 9, hard: 1 },
        { name: 'nofile', soft: -1, hard: 1 },
      ],
      devices: [{ pathOnHost: 'fuse', pathInContainer: 'x', cgroupPermissions: 'rx' }],
      seccomp: '{}',
    },
    [
      'capabilityAdd[0]: "FLY" is not a capability; see capabilities(7), for example NET_ADMIN, or ALL',
      'capabilityDrop[0]: "CAP_FLY" is not a capability; see capabilities(7), for example NET_ADMIN, or ALL',
      "sysctls.vm.swappiness: sysctl vm.swappiness cannot be set: it belongs to the whole machine; only those of a container's own namespaces can be set",
      'sysctls.x: sysctl x cannot be set: it is no name of one',
      'sysctls.kernel.hostname: sysctl kernel.hostname cannot be set: set the hostname of the container instead',
      'ulimits[0]: "files" is not a ulimit; known are as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack',
      'ulimits[1]: ulimit nofile: the soft limit 9 is above the hard limit 1',
      'ulimits[2]: ulimit nofile: the soft limit -1 is above the hard limit 1',
      'ulimits[2]: ulimit nofile is given twice',
      'devices[0].pathOnHost: "fuse" is not an absolute path',
      'devices[0].pathInContainer: "x" is not an absolute path',
      'devices[0].cgroupPermissions: "rx" is not made of r, w and m',
      'seccomp: is neither "unconfined" nor a profile: JSON with "defaultAction"',
    ],
  ],
  [
    'mounts that cannot be made',
    {
      mounts: [
        { type: BIND, source: 'a', target: '/', volumeOptions: {} },
        { type: BIND, source: '/a', target: '/x/', bindOptions: { propagation: 'none' } },
        { type: VOLUME, source: 'a/b', target: '/x', volumeOptions: { driver: 'nfs' } },
        {
          type: VOLUME,
          target: 'y',
          bindOptions: {},
          volumeOptions: { driverOpts: { size: '1' } },
        },
        { type: TMPFS, source: 't', target: '/t', tmpfsOptions: { sizeBytes: -1, mode: 0o10000 } },
        { type: VOLUME, target: '/u', tmpfsOptions: {} },
      ],
    },
    [
      'mounts[0].source: "a" is not an absolute path',
      'mounts[0].volumeOptions: only a volume has them',
      'mounts[0].target: nothing can be mounted over "/"',
      'mounts[1].bindOptions.propagation: "none" is none of rprivate, private, rshared, shared, rslave, slave',
      'mounts[2].source: "a/b" is not a volume name',
      'mounts[2].volumeOptions.driver: there is no volume driver "nfs": only "local" is known',
      'mounts[2].target: "/x" is mounted twice',
      'mounts[3].bindOptions: only a bind mount has them',
      'mounts[3].volumeOptions.driverOpts.size: is none of type, device, o',
      'mounts[3].target: "y" is not an absolute path',
      'mounts[4].source: a tmpfs has no source',
      'mounts[4].tmpfsOptions.sizeBytes: -1 must not be negative',
      'mounts[4].tmpfsOptions.mode: 10000 is above 7777 (octal)',
      'mounts[5].tmpfsOptions: only a tmpfs has them',
    ],
  ],
  [
    'negative times and sizes',
    {
      ...{ stopGracePeriodMs: -1, shmSizeBytes: -1 },
      healthcheck: { test: ['SHELL'], timeoutMs: -1, startIntervalMs: -2 },
    },
    [
      'stopGracePeriodMs: -1 must not be negative',
      'shmSizeBytes: -1 must not be negative',
      'healthcheck.timeoutMs: -1 must not be negative',
      'healthcheck.startIntervalMs: -2 must not be negative',
      'healthcheck.test: begins with "SHELL" instead of NONE, CMD or CMD-SHELL',
    ],
  ],
];

describe('validation of what a container runs', () => {
  for (const [name, some, expected] of CASES) {
    it(name, () => {
      assert.deepEqual(problemsOf(some), expected);
    });
  }
});
