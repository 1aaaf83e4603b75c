import assert from 'node:assert/strict';
import { externalEtcd, type ExternalEtcdSettings } from '../../../../manager/etcd/external.js';

const NONE = { etcdEndpoints: [], etcdCa: '', etcdCert: '', etcdKey: '' };

describe('settings of an external etcd', () => {
  it('may leave out the port', async () => {
    const etcdEndpoints = ['http://etcd1/', 'http://10.0.0.2', 'http://etcd3:2380'];
    assert.deepEqual(await externalEtcd({ ...NONE, etcdEndpoints }), {
      endpoints: ['http://etcd1:2379', 'http://10.0.0.2:2379', 'http://etcd3:2380'],
    });
  });

  const wrong: [string, Partial<ExternalEtcdSettings>, RegExp][] = [
    [
      'mixed endpoints',
      { etcdEndpoints: ['http://10.0.0.1:1', 'https://10.0.0.2:1'] },
      /^etcdEndpoints: either all begin with https:\/\/, or none$/,
    ],
    [
      'files for plain endpoints',
      { etcdEndpoints: ['http://10.0.0.1:1'], etcdCa: '/ca' },
      /^etcdCa, etcdCert and etcdKey are for endpoints that begin with https:/,
    ],
    [
      'a certificate without its key',
      { etcdEndpoints: ['https://10.0.0.1:1'], etcdCert: '/cert' },
      /^etcdCert and etcdKey go together/,
    ],
    [
      'a file that is not there',
      { etcdEndpoints: ['https://10.0.0.1:1'], etcdCa: '/no/such/ca.pem' },
      /^etcdCa: .*ENOENT.*\/no\/such\/ca\.pem/,
    ],
  ];
  for (const [name, settings, message] of wrong) {
    it(`are refused: ${name}`, async () => {
      await assert.rejects(externalEtcd({ ...NONE, ...settings }), { message });
    });
  }
});
