import assert from 'node:assert/strict';
import type { ServiceSpec } from '../../../../../common/model/objects.js';
import { problemsError } from '../../../../../manager/core/validate/problem.js';
import {
  validateServiceSpec,
  withDefaults,
} from '../../../../../manager/core/validate/service-spec.js';
import {
  EndpointMode,
  MountType,
  NodeState,
  PortProtocol,
  PublishMode,
  UpdateFailureAction,
  type ServiceSpec as ServiceSpecMessage,
  type TaskSpec,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNetwork, aNode, aService, snapshotOf, type Some } from '../../../../support/builders.js';

const snapshot = snapshotOf({
  services: [
    aService({
      spec: {
        name: 'holder',
        endpointSpec: {
          ports: [
            { targetPort: 80, publishedPort: 8080 },
            { targetPort: 81, publishedPort: 8081, publishMode: PublishMode.HOST },
          ],
        },
      },
    }),
    aService({ spec: { name: 'leaving' }, pendingDelete: true }),
  ],
  networks: [
    aNetwork({ ipam: [{ subnet: '10.1.0.0/24', gateway: '10.1.0.1' }], vni: 4096 }),
    aNetwork({ spec: { name: 'ingress', ingress: true } }),
    aNetwork({ spec: { name: 'old' }, pendingDelete: true }),
    aNetwork({ spec: { name: 'local', driver: 'bridge' } }),
    ...['host', 'none'].map((name) => aNetwork({ id: name, spec: { name, driver: name } })),
  ],
  nodes: [
    aNode({
      id: 'n1',
      description: {
        usedPorts: [
          { port: 22, holder: 'sshd (pid 812)' },
          { port: 53, protocol: PortProtocol.UDP, hostIp: '127.0.0.1', holder: 'dnsmasq (pid 9)' },
        ],
      },
    }),
    aNode({
      id: 'n2',
      description: { usedPorts: [{ port: 25, holder: 'exim (pid 7)' }] },
      status: { state: NodeState.DOWN },
    }),
  ],
});

function problemsOf(some: Some<ServiceSpecMessage>): string[] {
  const { spec } = aService({ spec: { name: 'web', ...some } });
  return validateServiceSpec(spec, snapshot).map((p) => `${p.path}: ${p.message}`);
}
const task = (taskTemplate: Some<TaskSpec>): Some<ServiceSpecMessage> => ({ taskTemplate });
const port = (some: object): Some<ServiceSpecMessage> => ({
  endpointSpec: { ports: [{ targetPort: 80, ...some }] },
});
const onDns = (hostIp: string) => ({
  ...{ protocol: PortProtocol.UDP, targetPort: 53, publishedPort: 53, hostIp },
});

describe('service validation', () => {
  const cases: readonly [string, Some<ServiceSpecMessage>, string[]][] = [
    ['a plain service', {}, []],
    ['no name', { name: '' }, ['name: a name is required']],
    ['a name taken', { name: 'holder' }, ['name: service holder exists already']],
    [
      'a name still in use',
      { name: 'leaving' },
      ['name: service leaving is still being removed: wait until its tasks are gone'],
    ],
    [
      'a bad name',
      { name: '-web' },
      [
        'name: "-web" is not a valid name: letters, digits, "-" and "_", not at the ends, at most 63 characters',
      ],
    ],
    [
      'too many replicas',
      { mode: { $case: 'replicated', value: { replicas: 1e9 } } },
      ['mode.replicas: 1000000000 is not between 0 and 100000'],
    ],
    [
      'resolvers, search domains and options',
      task({
        containerSpec: {
          dnsConfig: {
            nameservers: ['192.0.2.53', '2001:db8::53', '::ffff:192.0.2.53', 'fe80::1%eth0'],
            search: ['.', 'a.example'],
            options: ['ndots:2'],
          },
        },
      }),
      [],
    ],
    [
      'resolvers by name, and lines for resolv.conf',
      task({
        containerSpec: {
          dnsConfig: {
            nameservers: ['dns.example', '192.0.2.256'],
            search: ['a b'],
            options: ['x\nnameserver 192.0.2.1'],
          },
        },
      }),
      [
        'taskTemplate.containerSpec.dnsConfig.nameservers[0]: "dns.example" is not an IP address: DNS servers are given as addresses, for example 192.0.2.53',
        'taskTemplate.containerSpec.dnsConfig.nameservers[1]: "192.0.2.256" is not an IP address: DNS servers are given as addresses, for example 192.0.2.53',
        'taskTemplate.containerSpec.dnsConfig.search[0]: "a b" is not one word, as resolv.conf needs it',
        'taskTemplate.containerSpec.dnsConfig.options[0]: "x\nnameserver 192.0.2.1" is not one word, as resolv.conf needs it',
      ],
    ],
    [
      'what a task may share with its machine',
      task({
        containerSpec: {
          pidMode: 'host',
          ipcMode: 'none',
          utsMode: 'host',
          usernsMode: 'host',
          cgroupnsMode: 'private',
          oomScoreAdj: -1000,
          deviceCgroupRules: ['c 1:* rwm', 'a *:* r'],
        },
        resources: {
          limits: {
            memoryBytes: 1 << 26,
            memorySwapBytes: -1,
            memoryReservationBytes: 1 << 25,
            cpuShares: 2,
            cpusetCpus: '0-2,4',
            blkioWeight: 1000,
            blkioDeviceReadBps: [{ path: '/dev/sda', rate: 1 }],
          },
        },
      }),
      [],
    ],
    [
      'what no task may share',
      task({
        containerSpec: {
          hostname: 'web',
          privileged: true,
          pidMode: 'container:db',
          ipcMode: 'service:db',
          utsMode: 'host',
          usernsMode: 'remap',
          oomScoreAdj: 1001,
          deviceCgroupRules: ['c 1:3'],
        },
      }),
      [
        'taskTemplate.containerSpec.pidMode: "container:db" is none of private, host',
        'taskTemplate.containerSpec.ipcMode: "service:db" is none of private, shareable, host, none',
        'taskTemplate.containerSpec.utsMode: a container with the name of its machine cannot have a hostname or domainname',
        'taskTemplate.containerSpec.usernsMode: a privileged container cannot have users of its own',
        'taskTemplate.containerSpec.oomScoreAdj: 1001 is not between -1000 and 1000',
        'taskTemplate.containerSpec.deviceCgroupRules[0]: "c 1:3" is not a rule like "c 1:3 rwm"',
      ],
    ],
    [
      'limits that cannot be',
      task({
        resources: {
          limits: {
            memoryBytes: 1 << 23,
            memorySwapBytes: 1 << 22,
            memoryReservationBytes: 1 << 24,
            cpuShares: 1,
            cpusetCpus: 'all',
            blkioWeight: 5,
            blkioDeviceWriteIops: [{ path: 'sda', rate: 0 }],
          },
        },
      }),
      [
        'cpuShares: 1 is not between 2 and 262144',
        'blkioWeight: 5 is not between 10 and 1000',
        'cpusetCpus: "all" is not a list like "0-2,4"',
        'memoryReservationBytes: 16777216 bytes are above the memory limit of 8388608',
        'memorySwapBytes: 4194304 bytes of memory and swap together are less than the memory limit, or there is none; -1 is any amount',
        'blkioDeviceWriteIops[0]: "sda" is not the path of a device',
        'blkioDeviceWriteIops[0]: a rate of 0 lets nothing pass',
      ].map((text) => `taskTemplate.resources.limits.${text}`),
    ],
    [
      'a bad image',
      task({ containerSpec: { image: 'Web Server' } }),
      ['taskTemplate.containerSpec.image: "Web Server" is not an image reference'],
    ],
    [
      'images of all kinds',
      task({ containerSpec: { image: `127.0.0.1:5000/a/b_c:v1.2@sha256:${'a'.repeat(64)}` } }),
      [],
    ],
    [
      'resources below the least',
      task({ resources: { limits: { nanoCpus: 5e5, memoryBytes: 1024 } } }),
      [
        'taskTemplate.resources.limits.nanoCpus: 0.0005 CPUs are below the least possible, 0.001',
        'taskTemplate.resources.limits.memoryBytes: 1024 bytes are below the least possible, 4 MiB',
      ],
    ],
    [
      'a bad constraint',
      task({ placement: { constraints: ['node.role==worker', 'zone==a'] } }),
      [
        'taskTemplate.placement.constraints[1]: constraint "zone==a" has the unknown key "zone" (known are ' +
          'node.id, node.hostname, node.role, node.ip, node.platform.os, node.platform.arch, node.labels.NAME, engine.labels.NAME)',
      ],
    ],
    [
      'mounts',
      task({
        containerSpec: {
          mounts: [
            { type: MountType.BIND, source: 'x', target: '/a' },
            { type: MountType.VOLUME, source: 'v', target: '/a' },
          ],
        },
      }),
      [
        'taskTemplate.containerSpec.mounts[0].source: "x" is not an absolute path',
        'taskTemplate.containerSpec.mounts[1].target: "/a" is mounted twice',
      ],
    ],
    [
      'networks',
      task({
        networks: ['backend', 'nowhere', 'ingress', 'old', 'local'].map((target) => ({ target })),
      }),
      [
        'taskTemplate.networks[1].target: there is no network nowhere',
        'taskTemplate.networks[2].target: services join network ingress by publishing ports, not by name',
        'taskTemplate.networks[3].target: network old is being removed',
      ],
    ],
    [
      'a port that another service has',
      port({ publishedPort: 8080 }),
      ['endpointSpec.ports[0]: port 8080/tcp is already published by service holder'],
    ],
    [
      'an ingress port over a host port',
      port({ publishedPort: 8081 }),
      ['endpointSpec.ports[0]: port 8081/tcp is already published by service holder'],
    ],
    [
      'a host port beside a host port',
      port({ publishedPort: 8081, publishMode: PublishMode.HOST }),
      [],
    ],
    [
      'a port twice',
      {
        endpointSpec: { ports: [80, 81].map((targetPort) => ({ targetPort, publishedPort: 90 })) },
      },
      ['endpointSpec.ports[1]: port 90/tcp is published twice by service web'],
    ],
    [
      'dnsrr with an ingress port',
      { endpointSpec: { mode: EndpointMode.DNSRR, ports: [{ targetPort: 80 }] } },
      [
        'endpointSpec.ports[0]: endpoint mode dnsrr cannot publish in ingress mode: use mode host, or vip',
      ],
    ],
    [
      'ports out of range',
      port({ targetPort: 0, publishedPort: 70_000, hostIp: 'localhost' }),
      [
        'endpointSpec.ports[0].targetPort: 0 is not a port between 1 and 65535',
        'endpointSpec.ports[0].publishedPort: 70000 is not a port between 1 and 65535',
        'endpointSpec.ports[0].hostIp: "localhost" is not an IPv4 address',
      ],
    ],
    ['a port on one address of each node', port({ publishedPort: 8090, hostIp: '10.0.0.5' }), []],
    [
      'a port on one address, of which another service has all',
      port({ publishedPort: 8080, hostIp: '10.0.0.5' }),
      ['endpointSpec.ports[0]: port 10.0.0.5:8080/tcp is already published by service holder'],
    ],
    [
      'a port that a node uses itself',
      port({ publishedPort: 22 }),
      ['endpointSpec.ports[0]: port 22/tcp is taken on node n1 by sshd (pid 812)'],
    ],
    [
      'a port that a node uses on another address',
      { endpointSpec: { ports: ['10.0.0.5', '127.0.0.1'].map((hostIp) => onDns(hostIp)) } },
      ['endpointSpec.ports[1]: port 127.0.0.1:53/udp is taken on node n1 by dnsmasq (pid 9)'],
    ],
    ['a port that a node used that is down', port({ publishedPort: 25 }), []],
    [
      'a host port that a node uses: others may be free',
      port({ publishedPort: 22, publishMode: PublishMode.HOST }),
      [],
    ],
    ['the network of the host', task({ networks: [{ target: 'host' }] }), []],
    [
      'the network of the host beside another, with names',
      task({ networks: [{ target: 'host', aliases: ['a'] }, { target: 'backend' }] }),
      [
        'taskTemplate.networks[0].target: a service on network host can be on no other network',
        'taskTemplate.networks[0].aliases: network host has no names of its own',
      ],
    ],
    [
      'ports on the network of the host',
      {
        ...task({ networks: [{ target: 'host' }] }),
        endpointSpec: {
          ports: [
            { targetPort: 80, publishedPort: 80, publishMode: PublishMode.HOST },
            { targetPort: 80, publishedPort: 8095, publishMode: PublishMode.HOST },
            { targetPort: 90, publishedPort: 8096 },
          ],
        },
      },
      [
        'taskTemplate.networks[0]: on network host port 8095/tcp cannot lead to another (80)',
        'taskTemplate.networks[0]: a service on network host cannot publish port 8096/tcp in mode ' +
          'ingress: its tasks listen on their nodes themselves; use mode host to keep them apart, ' +
          'or no port',
      ],
    ],
    [
      'ports without a network',
      {
        ...task({ networks: [{ target: 'none' }] }),
        endpointSpec: { ports: [{ targetPort: 80, publishedPort: 8090 }] },
      },
      ['taskTemplate.networks[0]: a service without a network cannot publish port 8090/tcp'],
    ],
    ['no drain time', { endpointSpec: { drainMs: 0 } }, []],
    [
      'a drain time beyond an hour',
      { endpointSpec: { drainMs: 3_600_001 } },
      ['endpointSpec.drainMs: 3600001 is not between 0 and 3600000 (1 hour)'],
    ],
    [
      'an address of the host in mode host',
      port({ publishedPort: 8090, hostIp: '127.0.0.1', publishMode: PublishMode.HOST }),
      [],
    ],
    [
      'update settings',
      {
        updateConfig: { maxFailureRatio: 2, delayMs: -1 },
        rollbackConfig: { failureAction: UpdateFailureAction.ROLLBACK },
      },
      [
        'updateConfig.delayMs: -1 must not be negative',
        'updateConfig.maxFailureRatio: 2 is not between 0 and 1',
        'rollbackConfig.failureAction: a rollback cannot be rolled back: use pause or continue',
      ],
    ],
    [
      'numbers of an update that cannot be',
      {
        updateConfig: { parallelism: 1e6, progressDeadlineMs: -1, monitorMs: -5 },
        revisionLimit: 101,
      },
      [
        'updateConfig.parallelism: 1000000 is not between 0 and 100000',
        'updateConfig.monitorMs: -5 must not be negative',
        'updateConfig.progressDeadlineMs: -1 must not be negative',
        'revisionLimit: 101 is not between 0 and 100',
      ],
    ],
    [
      'templates of all that can have them',
      {
        labels: { tier: 'front' },
        ...task({
          containerSpec: {
            hostname: '{{.Service.Name}}-{{.Task.Slot}}',
            env: ['TIER={{.Service.Labels.tier}}', 'N={{.Node.Hostname}}'],
            mounts: [
              { type: MountType.VOLUME, source: 'data-{{.Task.Slot}}', target: '/data' },
              { type: MountType.BIND, source: '/srv/{{.Node.ID}}', target: '/{{.Task.Name}}' },
            ],
          },
        }),
      },
      [],
    ],
    [
      'templates that no node can expand',
      task({
        containerSpec: {
          hostname: '{{.Service.Nam}}',
          env: ['A={{.Task.Slot', 'B={{index .Service.Labels "tier"}}'],
          mounts: [
            { type: MountType.VOLUME, source: '{{shout .Task.ID}}', target: '{{.Task.Slot}}' },
            { type: MountType.VOLUME, source: '{{.Task.Name}}/x', target: '/{{.Nope}}' },
          ],
        },
      }),
      [
        'taskTemplate.containerSpec.hostname: there is no field "Service.Nam"; there are ID, Name, Labels',
        'taskTemplate.containerSpec.env[0]: "{{.Task.Slot" is not closed by "}}"',
        'taskTemplate.containerSpec.env[1]: there is nothing to print: (index .Service.Labels tier) is missing',
        'taskTemplate.containerSpec.mounts[0].source: unknown function "shout"; known are json, join, split, index, len, upper, lower, truncate, println, printf, eq, ne, not, and, or',
        'taskTemplate.containerSpec.mounts[1].target: there is no field "Nope"; there are Service, Node, Task',
        'taskTemplate.containerSpec.mounts[0].target: "1" is not an absolute path',
        'taskTemplate.containerSpec.mounts[1].source: "web.1.TASK/x" is not a volume name',
      ],
    ],
    [
      'restarts and logs that cannot be',
      {
        labels: { '': 'x' },
        ...task({
          restartPolicy: { delayMs: -1, maxDelayMs: -2, windowMs: -3, maxAttempts: 10_001 },
          logDriver: { name: 'syslog' },
        }),
      },
      [
        'taskTemplate.restartPolicy.delayMs: -1 must not be negative',
        'taskTemplate.restartPolicy.maxDelayMs: -2 must not be negative',
        'taskTemplate.restartPolicy.windowMs: -3 must not be negative',
        'taskTemplate.restartPolicy.maxAttempts: 10001 is not between 0 and 10000',
        'taskTemplate.logDriver: log driver "syslog" is not known: use "local", "json-file" or "none"',
        'labels: "" is not the name of a label',
      ],
    ],
    [
      'a definition that fills the store',
      task({ containerSpec: { env: [`A=${'x'.repeat(100_000)}`, `B=${'x'.repeat(170_000)}`] } }),
      [
        ': service web has a definition of 264KiB; at most 256KiB are possible: ' +
          'put large files into the image or a volume',
      ],
    ],
    [
      'a health check',
      task({ containerSpec: { healthcheck: { test: ['CMD-SHELL', 'a', 'b'], intervalMs: -5 } } }),
      [
        'taskTemplate.containerSpec.healthcheck.intervalMs: -5 must not be negative',
        'taskTemplate.containerSpec.healthcheck.test: CMD-SHELL takes one argument',
      ],
    ],
  ];
  for (const [name, some, expected] of cases) {
    it(name, () => {
      assert.deepEqual(problemsOf(some), expected);
    });
  }

  it('allows a service its own name and ports, but no other name', () => {
    const { spec } = snapshot.findByPrefix('service', 'holder');
    assert.deepEqual(validateServiceSpec(spec, snapshot, { serviceId: 'id-holder' }), []);
    const [problem] = validateServiceSpec({ ...spec, name: 'x' }, snapshot, {
      serviceId: 'id-holder',
    });
    assert.equal(problem?.message, 'service holder cannot be renamed to x');
  });

  it('becomes one error of all problems', () => {
    const { spec } = aService({ spec: { name: 'holder', revisionLimit: 1e6 } });
    const error = problemsError(validateServiceSpec(spec, snapshot));
    assert.equal(error.kind, 'already-exists');
    assert.equal(error.message.split('\n').length, 2);
  });

  it('lets a service keep the port that a program has come to listen on', () => {
    const { spec } = aService({ spec: { name: 'ssh', ...port({ publishedPort: 22 }) } });
    const ports = spec.endpointSpec.ports;
    const there = snapshotOf({
      services: [aService({ spec, endpoint: { ports } })],
      nodes: [...snapshot.nodes()],
    });
    assert.deepEqual(validateServiceSpec(spec, there, { serviceId: 'id-ssh' }), []);
    const elsewhere = snapshotOf({ services: [aService({ spec })], nodes: [...snapshot.nodes()] });
    assert.equal(validateServiceSpec(spec, elsewhere, { serviceId: 'id-ssh' }).length, 1);
  });

  it('has one form for every address', () => {
    const { spec } = aService({ spec: port({ publishedPort: 8090, hostIp: '0.0.0.0' }) });
    assert.equal(withDefaults(spec).endpointSpec.ports[0]?.hostIp, '');
  });

  it('fills in Swarm’s defaults and is then at rest', () => {
    const bare: ServiceSpec = aService({
      spec: { updateConfig: {}, rollbackConfig: { monitorMs: 70 } },
    }).spec;
    const full = withDefaults(bare);
    assert.equal(full.taskTemplate.restartPolicy.delayMs, 5000);
    assert.equal(full.taskTemplate.containerSpec.stopGracePeriodMs, 10_000);
    assert.equal(full.updateConfig.monitorMs, 5000);
    assert.equal(full.rollbackConfig.monitorMs, 70);
    assert.deepEqual(withDefaults(full), full);
  });
});
