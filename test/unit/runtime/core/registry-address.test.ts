import assert from 'node:assert/strict';
import {
  isPlainHttp,
  parseAuthChallenge,
  registryBaseUrl,
} from '../../../../runtime/core/registry-address.js';

describe('addresses of registries', () => {
  const named = ['10.77.0.0/16', 'plain.example', 'r.example:5000', '10.0.0.1'];
  const cases: [string, boolean][] = [
    ['127.0.0.1:5000', true],
    ['127.9.9.9', true],
    ['localhost:5000', true],
    ['[::1]:5000', true],
    ['10.77.3.4:5000', true],
    ['10.78.3.4:5000', false],
    ['plain.example:80', true],
    ['r.example:5000', true],
    ['r.example', false],
    ['r.example:5001', false],
    ['10.0.0.1:5000', true],
    ['127.0.0.1.example', false],
    ['docker.io', false],
  ];
  for (const [registry, expected] of cases) {
    it(`${registry} is spoken to over ${expected ? 'HTTP' : 'HTTPS'}`, () => {
      assert.equal(isPlainHttp(registry, named), expected);
    });
  }

  it('knows where docker.io answers', () => {
    assert.equal(registryBaseUrl('docker.io', []), 'https://registry-1.docker.io');
    assert.equal(registryBaseUrl('127.0.0.1:5000', []), 'http://127.0.0.1:5000');
  });

  it('reads challenges', () => {
    const header =
      'Bearer realm="https://auth.example/token",service="r \\"x\\"", scope="repository:a/b:pull,push"';
    assert.deepEqual(parseAuthChallenge(header), {
      scheme: 'bearer',
      parameters: {
        realm: 'https://auth.example/token',
        service: 'r "x"',
        scope: 'repository:a/b:pull,push',
      },
    });
    assert.deepEqual(parseAuthChallenge('BASIC realm=plain'), {
      scheme: 'basic',
      parameters: { realm: 'plain' },
    });
    assert.equal(parseAuthChallenge(''), undefined);
  });
});
