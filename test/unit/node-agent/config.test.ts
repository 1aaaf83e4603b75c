import assert from 'node:assert/strict';
import { parseConfig, toPrintable, type AgentConfig } from '../../../node-agent/config.js';

const parse = (
  file: unknown,
  env: Record<string, string> = {},
  flags: string[] = [],
): AgentConfig => parseConfig({ file, env, flags }, 'box');
const problemsOf = (run: () => unknown): string[] => {
  try {
    run();
  } catch (error) {
    return (error as Error).message.split('\n');
  }
  assert.fail('no problem found');
};

describe('configuration of the agent', () => {
  it('has defaults for everything', () => {
    assert.deepEqual(toPrintable(parse(undefined)), {
      root: '/var/lib/hatoba',
      runDir: '/run/hatoba',
      managers: [],
      joinToken: '',
      advertiseAddr: '',
      dataPathAddr: '',
      agentListen: '0.0.0.0:4402',
      cgroupParent: '/hatoba',
      hostname: 'box',
      labels: {},
      nodeGenericResources: [],
      insecureRegistries: [],
      registryMirrors: {},
      snapshotter: 'auto',
      bridgeSubnet: '172.30.0.0/16',
      forwardRules: 'auto',
      garbageInterval: '10m',
      imageMinAge: '24h',
      partialMaxAge: '168h',
      diskHighWatermark: 85,
      diskLowWatermark: 80,
      logLevel: 'info',
      logFormat: 'text',
    });
  });

  it('reads file, environment and flags, the later ones winning', () => {
    const file = { root: '/a', managers: ['10.0.0.1:4400'], labels: { zone: 'a', rack: 3 } };
    const env = { HATOBA_AGENT_ROOT: '/b', HATOBA_AGENT_RUN_DIR: '/run/b', HATOBA_OTHER: 'x' };
    const flags = ['--root', '/c', '--managers=[fd00::1]:4400,m2:4400', '--log-level', 'debug'];
    const config = parse(file, env, flags);
    assert.equal(config.root, '/c');
    assert.equal(config.runDir, '/run/b');
    assert.deepEqual(config.managers, ['[fd00::1]:4400', 'm2:4400']);
    assert.deepEqual(config.labels, { zone: 'a', rack: '3' });
    assert.equal(config.logLevel, 'debug');
    assert.ok(Object.isFrozen(config));
  });

  it('reads what it needs for containers of this node', () => {
    const file = {
      registryMirrors: { 'docker.io': ['http://10.0.0.5:5000', 'https://mirror.example'] },
      bridgeSubnet: '10.9.0.0/20',
      diskLowWatermark: 60,
    };
    const env = { HATOBA_AGENT_IMAGE_MIN_AGE: '1h30m', HATOBA_AGENT_DISK_HIGH_WATERMARK: '70' };
    const config = parse(file, env);
    assert.deepEqual(config.registryMirrors, file.registryMirrors);
    assert.equal(config.bridgeSubnet, '10.9.0.0/20');
    assert.equal(config.imageMinAge, '1h30m');
    assert.equal(config.diskHighWatermark, 70);
    const flags = ['--registry-mirrors', 'docker.io=http://a:1 http://b:2'];
    assert.deepEqual(parse(undefined, {}, flags).registryMirrors, {
      'docker.io': ['http://a:1', 'http://b:2'],
    });
  });

  it('reads what the machine has beside CPUs and memory, as Docker has it', () => {
    const file = { nodeGenericResources: ['gpu=UUID1', 'ssd=4'] };
    assert.deepEqual(parse(file).nodeGenericResources, file.nodeGenericResources);
    const flags = ['--node-generic-resources', 'gpu=UUID1,ssd=4'];
    assert.deepEqual(parse(undefined, {}, flags).nodeGenericResources, file.nodeGenericResources);
    assert.deepEqual(
      problemsOf(() => parse({ nodeGenericResources: ['gpu=1', 'gpu=a'] })),
      ['nodeGenericResources: "gpu=a": gpu is counted already, so it has no names'],
    );
  });

  it('refuses subnets, ages and watermarks that cannot be', () => {
    const problems = problemsOf(() =>
      parse({
        bridgeSubnet: '172.30.1.0/16',
        imageMinAge: 'soon',
        garbageInterval: '0s',
        diskHighWatermark: 101,
        registryMirrors: { 'docker.io': ['mirror'] },
      }),
    );
    assert.deepEqual(
      problems.map((p) => p.split(':')[0]),
      ['registryMirrors', 'bridgeSubnet', 'garbageInterval', 'imageMinAge', 'diskHighWatermark'],
    );
    assert.match(
      problemsOf(() => parse({ diskLowWatermark: 85 })).join(),
      /diskLowWatermark: 85 is not below diskHighWatermark, 85/,
    );
  });

  it('names every problem at once, by where it is written', () => {
    const problems = problemsOf(() =>
      parse(
        {
          rooot: '/a',
          root: 'relative',
          managers: 'm1:4400',
          labels: { zone: ['a'] },
          cgroupParent: '/a/../b',
        },
        { HATOBA_AGENT_ADVERTISE_ADDR: 'nonsense', HATOBA_AGENT_ROT: 'x' },
        ['--log-format', 'xml', '--nope', '--agent-listen'],
      ),
    );
    assert.deepEqual(
      new Set(problems.map((p) => p.split(':')[0])),
      new Set([
        '--agent-listen',
        '--log-format',
        '--nope',
        'HATOBA_AGENT_ADVERTISE_ADDR',
        'HATOBA_AGENT_ROT',
        'cgroupParent',
        'labels',
        'managers',
        'root',
        'rooot',
      ]),
    );
    assert.ok(problems.includes('--log-format: "xml" is not one of json, text'));
  });

  for (const [name, file] of [
    ['a list', ['a']],
    ['a port too large', { agentListen: '0.0.0.0:70000' }],
    ['an address of five parts', { advertiseAddr: '1.2.3.4.5' }],
    ['an address above 255', { dataPathAddr: '10.0.0.256' }],
    ['a manager without port', { managers: ['m1'] }],
    ['a host name with a space', { hostname: 'a b' }],
    ['a number for a text', { joinToken: 5 }],
  ] as const) {
    it(`refuses ${name}`, () => {
      assert.equal(problemsOf(() => parse(file)).length, 1);
    });
  }

  it('takes an empty file, and keys without a value, for the defaults', () => {
    assert.deepEqual(parse(null), parse(undefined));
    assert.deepEqual(parse({ joinToken: null }), parse(undefined));
  });

  it('does not print the join token', () => {
    assert.equal(toPrintable(parse({ joinToken: 'HTBTKN-1-a-b' }))['joinToken'], '(set)');
  });
});
