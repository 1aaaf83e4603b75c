import assert from 'node:assert/strict';
import { Command } from 'commander';
import { addContainerOptions, type ContainerFlags } from '../../../../cli/run/container-flags.js';
import { toCreateRequest, type FlagScope } from '../../../../cli/run/create-request.js';
import { HatobaError } from '../../../../common/errors.js';
import type { ContainerCreateRequest } from '../../../../proto/gen/hatoba/v1/engine.js';

const SCOPE: FlagScope = {
  baseDir: '/srv',
  variables: { FROM_HERE: 'here' },
  readFile: (path) => {
    if (path === 'env') return 'A=file\nB=file\n';
    if (path === 'seccomp.json') return '{"defaultAction":"SCMP_ACT_ALLOW"}';
    throw new HatobaError('not-found', `there is no file ${path}`);
  },
  exposedPorts: ['80/tcp', '53/udp'],
  mountsOfOthers: [],
};

/** What `hatoba run LINE` asks for. */
function read(line: readonly string[], scope: Partial<FlagScope> = {}): ContainerCreateRequest {
  let request: ContainerCreateRequest | undefined;
  const command = addContainerOptions(new Command('run'))
    .argument('<image>')
    .argument('[command...]')
    .exitOverride()
    .passThroughOptions()
    .action((image: string, words: string[], flags: ContainerFlags) => {
      request = toCreateRequest(image, words, flags, { ...SCOPE, ...scope });
    });
  command.parse([...line], { from: 'user' });
  assert.ok(request !== undefined);
  return request;
}

describe('hatoba run', () => {
  it('asks for nothing but the image when nothing else is said', () => {
    const request = read(['web:1']);
    assert.equal(request.spec?.image, 'web:1');
    assert.deepEqual(request.spec.args, []);
    assert.equal(request.spec.healthcheck, undefined);
    assert.deepEqual(request.restartPolicy, { name: 'no', maximumRetryCount: 0 });
    assert.equal(request.log, undefined);
    assert.deepEqual(request.ports, []);
  });

  it('leaves the flags behind the image to the command', () => {
    const { spec } = read(['-it', '--rm', 'web:1', 'ls', '-l', '--rm']);
    assert.deepEqual(spec?.args, ['ls', '-l', '--rm']);
    assert.deepEqual([spec.tty, spec.openStdin], [true, true]);
  });

  it('takes variables from files, then from flags, then from here', () => {
    const { spec } = read([
      '--env-file',
      'env',
      '-e',
      'B=flag',
      '-e',
      'FROM_HERE',
      '-e',
      'NO',
      'x',
    ]);
    assert.deepEqual(spec?.env, ['A=file', 'B=flag', 'FROM_HERE=here']);
  });

  it('publishes ports, all that are exposed if asked', () => {
    const { ports } = read(['-p', '127.0.0.1:8080:80', '-P', 'x']);
    assert.deepEqual(
      ports.map((p) => [p.hostIp, p.publishedPort, p.targetPort, p.protocol]),
      [
        ['127.0.0.1', 8080, 80, 'PORT_PROTOCOL_TCP'],
        ['', 0, 53, 'PORT_PROTOCOL_UDP'],
      ],
    );
  });

  it('reads limits, isolation and health', () => {
    const { spec, limits } = read([
      ...['-m', '64m', '--cpus', '0.5', '--pids-limit', '10', '--cap-drop', 'ALL', '--read-only'],
      ...['--security-opt', 'no-new-privileges', '--security-opt', 'seccomp=seccomp.json'],
      ...['--health-cmd', 'true', '--health-interval', '2s', '--pid', 'host', '--ipc', 'private'],
      ...['--stop-timeout', '3', '--oom-score-adj', '-5', '-h', 'box', 'x'],
    ]);
    assert.equal(limits?.memoryBytes, 64 * 2 ** 20);
    assert.deepEqual([limits.nanoCpus, limits.pids], [5e8, 10]);
    assert.deepEqual(spec?.capabilityDrop, ['ALL']);
    assert.deepEqual([spec.readOnly, spec.noNewPrivileges], [true, true]);
    assert.match(spec.seccomp, /SCMP_ACT_ALLOW/);
    assert.deepEqual(spec.healthcheck?.test, ['CMD-SHELL', 'true']);
    assert.equal(spec.healthcheck.intervalMs, 2000);
    assert.deepEqual([spec.pidMode, spec.ipcMode], ['host', '']);
    assert.deepEqual([spec.stopGracePeriodMs, spec.oomScoreAdj], [3000, -5]);
    assert.equal(spec.hostname, 'box');
  });

  it('takes the mounts of others, unless one of its own is there', () => {
    const [other] = read(['-v', 'theirs:/data', '-v', 'more:/more', 'x']).spec?.mounts ?? [];
    assert.ok(other !== undefined);
    const { spec } = read(['-v', 'mine:/data', 'x'], { mountsOfOthers: [other] });
    assert.deepEqual(
      spec?.mounts.map((m) => m.source),
      ['mine'],
    );
  });

  it('gives a privileged container a cgroup namespace of its own when told to', () => {
    const { spec } = read(['--privileged', '--cgroupns', 'private', 'x']);
    assert.equal(spec?.cgroupnsMode, 'private'); // with "" it would see the machine's
  });

  it('refuses what contradicts itself', () => {
    assert.throws(() => read(['--rm', '--restart', 'always', 'x']), /exclude each other/);
    assert.throws(() => read(['--security-opt', 'apparmor=x', 'x']), /is not known/);
    assert.throws(() => read(['--entrypoint', '"a', 'x']), /not closed/);
    assert.throws(() => read(['--env-file', 'no', 'x']), { kind: 'not-found' });
  });
});
