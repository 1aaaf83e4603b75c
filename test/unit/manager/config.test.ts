import assert from 'node:assert/strict';
import { HatobaError } from '../../../common/errors.js';
import { parseCommandLine } from '../../../common/settings.js';
import { parseConfig, toPrintable } from '../../../manager/config.js';

const NOTHING = { file: undefined, env: {}, flags: [] };

describe('manager configuration', () => {
  it('needs only the address', () => {
    const config = parseConfig({ ...NOTHING, file: { advertiseAddr: '10.0.0.1' } });
    assert.deepEqual(toPrintable(config), {
      root: '/var/lib/hatoba',
      runDir: '/run/hatoba',
      advertiseAddr: '10.0.0.1',
      listenAddr: '0.0.0.0:4400',
      etcdClientPort: 4379,
      etcdPeerPort: 4380,
      etcdEndpoints: [],
      etcdCa: '',
      etcdCert: '',
      etcdKey: '',
      etcdBinary: 'etcd',
      defaultAddrPool: ['10.128.0.0/9'],
      subnetSize: 24,
      dataPathPort: 4789,
      networkWait: '5s',
      logLevel: 'info',
      logFormat: 'text',
    });
    assert.ok(Object.isFrozen(config));
  });

  it('what it prints, it reads', () => {
    const file = {
      advertiseAddr: 'fd00::1',
      listenAddr: '[::]:4500',
      etcdEndpoints: ['https://10.0.0.9:2379'],
      logFormat: 'json',
    };
    const config = parseConfig({ ...NOTHING, file });
    assert.deepEqual(parseConfig({ ...NOTHING, file: toPrintable(config) }), config);
  });

  it('flags win over the environment, the environment over the file', () => {
    const config = parseConfig({
      file: { advertiseAddr: '10.0.0.1', root: '/file', runDir: '/file', logLevel: 'warn' },
      env: { HATOBA_MANAGER_ROOT: '/env', HATOBA_MANAGER_RUN_DIR: '/env', HOME: '/root' },
      flags: ['--root', '/flag', '--etcd-client-port=5379', '--default-addr-pool=10.0.0.0/8'],
    });
    assert.equal(config.root, '/flag');
    assert.equal(config.runDir, '/env');
    assert.equal(config.logLevel, 'warn');
    assert.equal(config.etcdClientPort, 5379);
    assert.deepEqual(config.defaultAddrPool, ['10.0.0.0/8']);
  });

  it('reports every problem at once, each with where it is', () => {
    const sources = {
      file: { root: 'relative', port: 1, etcdClientPort: 70000, defaultAddrPool: ['10.0.0.0/40'] },
      env: { HATOBA_MANAGER_TYPO: 'x', HATOBA_MANAGER_LOG_LEVEL: 'loud' },
      flags: ['--advertise-addr', 'host', '--nope', '--listen-addr'],
    };
    assert.throws(
      () => parseConfig(sources),
      (error) => {
        assert.ok(error instanceof HatobaError && error.kind === 'invalid-argument');
        const lines = error.message.split('\n').map((line) => line.split(':')[0]);
        assert.deepEqual(lines.sort(), [
          '--advertise-addr',
          '--listen-addr',
          '--nope',
          'HATOBA_MANAGER_LOG_LEVEL',
          'HATOBA_MANAGER_TYPO',
          'defaultAddrPool',
          'etcdClientPort',
          'port',
          'root',
        ]);
        return true;
      },
    );
  });

  const wrong: [string, unknown][] = [
    ['a list', []],
    ['a text', 'advertiseAddr'],
    ['no address', {}],
    ['an endpoint with a path', { advertiseAddr: '10.0.0.1', etcdEndpoints: ['http://x/y'] }],
    ['a subnet size without room', { advertiseAddr: '10.0.0.1', subnetSize: 30 }],
    ['a port for programs that ask for any', { advertiseAddr: '10.0.0.1', dataPathPort: 50_000 }],
    ['a wait without its unit', { advertiseAddr: '10.0.0.1', networkWait: '5' }],
    ['a port as text', { advertiseAddr: '10.0.0.1', etcdPeerPort: '4380' }],
  ];
  for (const [name, file] of wrong) {
    it(`refuses ${name}`, () => {
      assert.throws(() => parseConfig({ ...NOTHING, file }), { kind: 'invalid-argument' });
    });
  }

  it('takes the file and the check apart from the settings', () => {
    assert.deepEqual(parseCommandLine(['--config', '/a', '--root', '/b', '--check-config']), {
      configFile: '/a',
      checkOnly: true,
      flags: ['--root', '/b'],
    });
    assert.equal(parseCommandLine(['--config=/a']).configFile, '/a');
    assert.throws(() => parseCommandLine(['--config']), { kind: 'invalid-argument' });
  });
});
