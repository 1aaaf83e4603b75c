import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatProblems, parseStackFile } from '../../../../cli/compose/stack-file.js';
import { Limit } from '../../../../proto/gen/hatoba/v1/types.js';
import type { ServiceSpec, StackSpec } from '../../../../common/model/objects.js';

function parse(
  text: string,
  variables: Record<string, string> = {},
): { spec: StackSpec; problems: string } {
  const { spec, problems } = parseStackFile('shop', {
    file: 'c.yaml',
    text,
    baseDir: '/srv/shop',
    variables,
    readEnvFile: (path) => {
      if (path === 'web.env') return ['FROM_FILE=1', 'BOTH=file'];
      throw new Error(`there is no file ${path}`);
    },
  });
  return { spec, problems: formatProblems(problems) };
}

/** The one service of a file that must be right. */
function service(lines: string, variables?: Record<string, string>): ServiceSpec {
  const body = lines
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
  const { spec, problems } = parse(
    `services:\n  web:\n    image: web:1\n${body}\nnetworks: {back: , front: {name: edge, external: true}}\nvolumes: {data: }`,
    variables,
  );
  assert.equal(problems, '');
  const [only] = spec.services;
  assert.ok(only !== undefined);
  return only;
}
const container = (lines: string, variables?: Record<string, string>) =>
  service(lines, variables).taskTemplate.containerSpec;

describe('parseStackFile', () => {
  it('names services and networks after the stack, and labels them', () => {
    const { spec, problems } = parse('services: {web: {image: "web:1"}}');
    assert.equal(problems, '');
    assert.deepEqual(
      spec.networks.map((n) => [n.name, n.driver]),
      [['shop_default', 'overlay']],
    );
    const [web] = spec.services;
    assert.equal(web?.name, 'shop_web');
    assert.deepEqual(web.labels, { 'com.docker.stack.namespace': 'shop' });
    assert.deepEqual(web.taskTemplate.networks, [{ target: 'shop_default', aliases: ['web'] }]);
    assert.deepEqual(web.mode, { $case: 'replicated', value: { replicas: 1 } });
  });

  it('joins declared networks, external ones by their own name', () => {
    const web = service('networks:\n  back: {aliases: [db]}\n  front:');
    assert.deepEqual(web.taskTemplate.networks, [
      { target: 'shop_back', aliases: ['web', 'db'] },
      { target: 'edge', aliases: ['web'] },
    ]);
  });

  it('takes commands as words of a line or as a list', () => {
    assert.deepEqual(container(`command: sh -c "echo 'a b' \\"c\\""`).args, [
      'sh',
      '-c',
      `echo 'a b' "c"`,
    ]);
    assert.deepEqual(container('command: [a, "b c"]').args, ['a', 'b c']);
    assert.deepEqual(container('entrypoint: /run me').command, ['/run', 'me']);
  });

  it('merges environment over env_file, and takes bare names from the environment', () => {
    const spec = container('environment: [BOTH=own, A, UNSET]\nenv_file: web.env', { A: 'outer' });
    assert.deepEqual(spec.env.sort(), ['A=outer', 'BOTH=own', 'FROM_FILE=1']);
    assert.deepEqual(container('environment: {N: 1, T: true, E: ""}').env, ['N=1', 'T=true', 'E=']);
  });

  it('substitutes variables before values are read as numbers', () => {
    const { mode } = service('deploy: {replicas: "${N:-4}"}');
    assert.deepEqual(mode, { $case: 'replicated', value: { replicas: 4 } });
  });

  it('reads modes, whatever the order of their keys', () => {
    const job = (totalCompletions: number, maxConcurrent: number): ServiceSpec['mode'] => ({
      $case: 'replicatedJob',
      value: { totalCompletions, maxConcurrent },
    });
    const modes: [deploy: string, mode: ServiceSpec['mode']][] = [
      ['mode: global', { $case: 'global', value: {} }],
      ['mode: global-job', { $case: 'globalJob', value: {} }],
      ['replicas: 3, mode: replicated', { $case: 'replicated', value: { replicas: 3 } }],
      ['mode: replicated-job', job(1, 0)],
      ['max_concurrent: 2, replicas: 9, mode: replicated-job', job(9, 2)],
    ];
    for (const [deploy, mode] of modes) {
      assert.deepEqual(service(`deploy: {${deploy}}`).mode, mode);
    }
  });

  it('applies anchors and merge keys, own keys winning', () => {
    const { spec, problems } = parse(
      [
        'x-base: &base {image: "web:1", user: nobody}',
        'services:',
        '  a: {<<: *base, user: root}',
        '  b: {<<: [*base, {user: other, hostname: h}]}',
      ].join('\n'),
    );
    assert.equal(problems, '');
    const [a, b] = spec.services.map((s) => s.taskTemplate.containerSpec);
    assert.deepEqual([a?.image, a?.user], ['web:1', 'root']);
    assert.deepEqual([b?.image, b?.user, b?.hostname], ['web:1', 'nobody', 'h']);
  });

  it('reads ports in short and long form', () => {
    const ports = (lines: string) =>
      service(`ports:\n${lines}`).endpointSpec.ports.map((p) => [
        p.hostIp, p.publishedPort, p.targetPort, p.protocol.slice(14), p.publishMode.slice(13),
      ]); // prettier-ignore
    assert.deepEqual(ports('  - 80'), [['', 0, 80, 'TCP', 'INGRESS']]);
    assert.deepEqual(ports('  - "127.0.0.1:8080:80/udp"'), [
      ['127.0.0.1', 8080, 80, 'UDP', 'INGRESS'],
    ]);
    assert.deepEqual(ports('  - "8000-8001:80-81"'), [
      ['', 8000, 80, 'TCP', 'INGRESS'],
      ['', 8001, 81, 'TCP', 'INGRESS'],
    ]);
    assert.deepEqual(
      ports('  - {target: 80, published: "8080", protocol: sctp, mode: host, host_ip: 10.0.0.1}'),
      [['10.0.0.1', 8080, 80, 'SCTP', 'HOST']],
    );
  });

  it('reads mounts in short and long form', () => {
    const { mounts } = container(
      [
        'volumes:',
        '  - data:/d',
        '  - ./conf:/etc/conf:ro',
        '  - /anonymous',
        '  - {type: bind, source: ../x, target: /x}',
        'tmpfs: /run',
      ].join('\n'),
    );
    assert.deepEqual(
      mounts.map((m) => [m.type.slice(11), m.source, m.target, m.readOnly]),
      [
        ['VOLUME', 'shop_data', '/d', false],
        ['BIND', '/srv/shop/conf', '/etc/conf', true],
        ['VOLUME', '', '/anonymous', false],
        ['BIND', '/srv/x', '/x', false],
        ['TMPFS', '', '/run', false],
      ],
    );
  });

  it('reads the deploy section with its units', () => {
    const spec = service(
      [
        'deploy:',
        '  update_config: {parallelism: 2, delay: 1m30s, order: start-first, failure_action: rollback, monitor: 500ms, max_failure_ratio: 0.25}',
        '  restart_policy: {condition: on-failure, delay: 2s, max_attempts: 3, window: 1m}',
        '  resources: {limits: {cpus: "0.5", memory: 64M, pids: 10}, reservations: {cpus: 0.25, memory: 1g}}',
        '  placement: {constraints: [node.role==worker], max_replicas_per_node: 2, preferences: [{spread: node.labels.zone}]}',
      ].join('\n'),
    );
    assert.deepEqual(spec.updateConfig, {
      parallelism: 2,
      delayMs: 90_000,
      failureAction: 'UPDATE_FAILURE_ACTION_ROLLBACK',
      monitorMs: 500,
      maxFailureRatio: 0.25,
      order: 'UPDATE_ORDER_START_FIRST',
      progressDeadlineMs: undefined,
    });
    const { restartPolicy, resources, placement } = spec.taskTemplate;
    assert.deepEqual(restartPolicy, {
      condition: 'RESTART_CONDITION_ON_FAILURE',
      delayMs: 2000,
      maxAttempts: 3,
      windowMs: 60_000,
      maxDelayMs: undefined,
    });
    assert.deepEqual(
      resources.limits,
      Limit.fromPartial({ nanoCpus: 5e8, memoryBytes: 64 * 2 ** 20, pids: 10 }),
    );
    const reserved = { nanoCpus: 2.5e8, memoryBytes: 2 ** 30, pids: 0, generic: [] };
    assert.deepEqual(resources.reservations, reserved);
    assert.deepEqual(placement.constraints, ['node.role==worker']);
    assert.deepEqual(placement.preferences, [{ spreadDescriptor: 'node.labels.zone' }]);
  });

  it('reads what a service may do and what it shares with the machine', () => {
    const spec = container(
      [
        'pid: host',
        'ipc: shareable',
        'uts: host',
        'userns_mode: remap',
        'cgroup: private',
        'oom_score_adj: -500',
        'device_cgroup_rules: ["c 1:3 rwm"]',
        'devices: ["/dev/fuse:rw"]',
        'security_opt: ["no-new-privileges:true", seccomp=unconfined]',
        'tmpfs: ["/run:size=64k,mode=755", /tmp]',
      ].join('\n'),
    );
    const { pidMode, ipcMode, utsMode, usernsMode, cgroupnsMode } = spec;
    assert.deepEqual(
      [pidMode, ipcMode, utsMode, usernsMode, cgroupnsMode],
      ['host', 'shareable', 'host', 'remap', 'private'],
    );
    assert.deepEqual([spec.oomScoreAdj, spec.deviceCgroupRules], [-500, ['c 1:3 rwm']]);
    assert.deepEqual(spec.devices, [
      { pathOnHost: '/dev/fuse', pathInContainer: '/dev/fuse', cgroupPermissions: 'rw' },
    ]);
    assert.deepEqual([spec.noNewPrivileges, spec.seccomp], [true, 'unconfined']);
    assert.deepEqual(
      spec.mounts.map((m) => [m.target, m.tmpfsOptions]),
      [
        ['/run', { sizeBytes: 65_536, mode: 0o755 }],
        ['/tmp', { sizeBytes: 0, mode: 0 }],
      ],
    );
  });

  it('reads limits beside those of the deploy section', () => {
    const { limits } = service(
      [
        'cpus: 0.5',
        'cpu_shares: 512',
        'cpuset: 0-1',
        'mem_limit: 64m',
        'memswap_limit: -1',
        'mem_reservation: 32m',
        'pids_limit: -1',
        'deploy: {resources: {limits: {memory: 64m, pids: 10}}}',
        'blkio_config: {weight: 300, device_read_bps: [{path: /dev/sda, rate: 1m}], device_write_iops: [{path: /dev/sda, rate: 20}]}',
      ].join('\n'),
    ).taskTemplate.resources;
    assert.deepEqual(
      limits,
      Limit.fromPartial({
        nanoCpus: 5e8,
        cpuShares: 512,
        cpusetCpus: '0-1',
        memoryBytes: 64 * 2 ** 20,
        memorySwapBytes: -1,
        memoryReservationBytes: 32 * 2 ** 20,
        pids: 10,
        blkioWeight: 300,
        blkioDeviceReadBps: [{ path: '/dev/sda', rate: 2 ** 20 }],
        blkioDeviceWriteIops: [{ path: '/dev/sda', rate: 20 }],
      }),
    );
  });

  it('reads a restart rule where the deploy section has none, wherever that stands', () => {
    const restart = (lines: string): unknown[] => {
      const { condition, maxAttempts } = service(lines).taskTemplate.restartPolicy;
      return [condition, maxAttempts];
    };
    assert.deepEqual(restart('restart: unless-stopped'), ['RESTART_CONDITION_ANY', 0]);
    assert.deepEqual(restart('restart: no'), ['RESTART_CONDITION_NONE', 0]);
    const onFailure = 'restart: on-failure:3';
    assert.deepEqual(restart(onFailure), ['RESTART_CONDITION_ON_FAILURE', 3]);
    const deploy = 'deploy: {restart_policy: {condition: none}}';
    for (const lines of [
      [onFailure, deploy],
      [deploy, onFailure],
    ]) {
      assert.deepEqual(restart(lines.join('\n')), ['RESTART_CONDITION_NONE', 0]);
    }
  });

  const mistakes: [string, string][] = [
    ['services: {w: {image: x, pid: "service:db"}}', 'c.yaml:1:31: services.w.pid: "service:db": a task shares no namespace with other containers, which may run on other nodes; "private" or "host" would be right'],
    ['services: {w: {image: x, uts: here}}', 'c.yaml:1:31: services.w.uts: must be "private" or "host", not "here"'],
    ['services: {w: {image: x, restart: sometimes}}', 'c.yaml:1:35: services.w.restart: "sometimes" is not a restart rule: no, on-failure, on-failure:TIMES, unless-stopped or always'],
    ['services: {w: {image: x, mem_limit: 8m, deploy: {resources: {limits: {memory: 9m}}}}}', 'c.yaml:1:79: services.w.deploy.resources.limits.memory: another limit of this service says otherwise; say it once'],
    ['services: {w: {image: x, security_opt: ["apparmor:x"]}}', 'c.yaml:1:41: services.w.security_opt[0]: must be "no-new-privileges:true" or "seccomp:unconfined"'],
    ['services: {}', 'c.yaml:1:1: declares no services'],
    ['- a', 'c.yaml:1:1: a compose file is a map with "services:" at the top'],
    ['services: {w: {image: x, prots: []}}', 'c.yaml:1:26: services.w.prots: unknown key "prots"; did you mean "ports"?'],
    ['services: {w: {image: x, secrets: [a]}}', 'c.yaml:1:26: services.w.secrets: "secrets" is not supported yet'],
    ['services: {w: {image: x, ports: ["80:x"]}}', 'c.yaml:1:34: services.w.ports[0]: "80:x" is not a port like "8080:80", "127.0.0.1:8080:80/udp" or "80"'],
    ['services: {w: {image: x, ports: ["80-81:90"]}}', 'c.yaml:1:34: services.w.ports[0]: publishes 2 ports for 1 in the container; the ranges must be equally long'],
    ['services: {w: {image: x, ports: ["70000:80"]}}', 'c.yaml:1:34: services.w.ports[0]: "70000" is not a port or a range of ports between 1 and 65535'],
    ['services: {w: {image: x, networks: [no]}}', 'c.yaml:1:37: services.w.networks[0]: network "no" is not declared under "networks:" of this file'],
    ['services: {w: {image: x, volumes: ["no:/d"]}}', 'c.yaml:1:36: services.w.volumes[0]: volume "no" is not declared under "volumes:" of this file'],
    ['services: {w: {image: x, env_file: no.env}}', 'c.yaml:1:36: services.w.env_file: there is no file no.env'],
    ['services: {w: {image: x, command: "a \'b"}}', 'c.yaml:1:35: services.w.command: has a quote that is not closed'],
    ['services: {w: {image: x, healthcheck: {test: [curl]}}}', 'c.yaml:1:46: services.w.healthcheck.test: a list must begin with "CMD", "CMD-SHELL" or "NONE"'],
    ['services: {w: {image: x, healthcheck: {interval: 5}}}', 'c.yaml:1:50: services.w.healthcheck.interval: "5" is not a duration like 10s, 1m30s or 500ms'],
    ['services: {w: {image: x, deploy: {resources: {limits: {memory: lots}}}}}', 'c.yaml:1:64: services.w.deploy.resources.limits.memory: "lots" is not a size like 64k, 512m or 2g'],
    ['services: {w: {image: x, deploy: {replicas: -1}}}', 'c.yaml:1:45: services.w.deploy.replicas: must be at least 0, not -1'],
    ['services: {w: {image: x, deploy: {mode: global, replicas: 2}}}', 'c.yaml:1:59: services.w.deploy.replicas: a global service has one task on each node, no number of replicas'],
    ['services: {w: {image: x, deploy: {max_concurrent: 2}}}', 'c.yaml:1:51: services.w.deploy.max_concurrent: only a "replicated-job" has tasks that wait for others'],
    ['services: {w: {image: x, deploy: {update_config: {order: start-first}, mode: global-job}}}', 'c.yaml:1:35: services.w.deploy.update_config: a job is not updated: each change of it runs it again from the beginning'],
    ['services: {w: {image: "${TAG:?say a tag}"}}', 'c.yaml:1:23: services.w.image: variable TAG: say a tag'],
    ['services: {w: {image: x, tty: maybe}}', 'c.yaml:1:31: services.w.tty: must be true or false, not "maybe"'],
  ]; // prettier-ignore
  for (const [text, expected] of mistakes) {
    it(`says of ${text}`, () => {
      assert.ok(parse(text).problems.split('\n').includes(expected), parse(text).problems);
    });
  }

  it('says where the YAML itself is broken', () => {
    assert.match(parse('services:\n  web: {image: x\n  api: y').problems, /^c\.yaml:\d+:\d+: /);
    assert.match(
      parse('services: {a: {image: x}, a: {image: y}}').problems,
      /^c\.yaml:1:27: .*unique/i,
    );
  });

  it('finds all mistakes at once', () => {
    const { problems } = parse('services: {a: {imge: x}, b: {image: y, user: [1], tty: 7}}');
    assert.equal(problems.split('\n').length, 4, problems);
  });

  it('never throws, whatever the text', () => {
    const fragment = fc.constantFrom('services:', ' web:', '\n', '  ', 'image: x', '- ', '{', '}', '[', '"', '$', '${', ':', '&a', '*a', '<<: *a', '#'); // prettier-ignore
    fc.assert(
      fc.property(fc.array(fc.oneof(fragment, fc.string()), { maxLength: 30 }), (parts) => {
        parse(parts.join(''));
      }),
    );
  });
});
