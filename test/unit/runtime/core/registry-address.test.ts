import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  isPlainHttp,
  parseAuthChallenges,
  registryBaseUrl,
  registryEndpoints,
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

  it('reads challenges, also several in one header', () => {
    const header =
      'Basic realm="x y", Bearer realm="https://auth.example/token",service="r \\"x\\"", scope="repository:a/b:pull,push"';
    assert.deepEqual(parseAuthChallenges(header), [
      { scheme: 'basic', parameters: { realm: 'x y' } },
      {
        scheme: 'bearer',
        parameters: {
          realm: 'https://auth.example/token',
          service: 'r "x"',
          scope: 'repository:a/b:pull,push',
        },
      },
    ]);
    assert.deepEqual(parseAuthChallenges('BASIC realm=plain'), [
      { scheme: 'basic', parameters: { realm: 'plain' } },
    ]);
    assert.deepEqual(parseAuthChallenges('Negotiate, Basic'), [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: {} },
    ]);
    assert.deepEqual(parseAuthChallenges(''), []);
    assert.deepEqual(parseAuthChallenges('a=b, Basic'), []);
  });

  it('reads every challenge that is written by the rules', () => {
    const token = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/);
    const value = fc.string({ unit: 'grapheme-ascii' }).map((text) => text.replace(/[\r\n]/g, ''));
    const challenge = fc.record(
      { scheme: token, parameters: fc.dictionary(token, value, { noNullPrototype: true }) },
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 4 }), (challenges) => {
        const written = challenges.map(({ scheme, parameters }) => {
          const pairs = Object.entries(parameters).map(
            ([key, text]) => `${key}="${text.replace(/[\\"]/g, '\\$&')}"`,
          );
          return [scheme, pairs.join(', ')].join(' ');
        });
        assert.deepEqual(parseAuthChallenges(written.join(', ')), challenges);
      }),
    );
  });

  it('survives any header, however long', () => {
    fc.assert(fc.property(fc.string(), (header) => Array.isArray(parseAuthChallenges(header))));
    for (const piece of ['"', 'a=', '\\', ' ,', 'Bearer realm="', 'x']) {
      assert.ok(Array.isArray(parseAuthChallenges(piece.repeat(100_000))));
    }
  });

  it('asks mirrors before the registry, by the address they are given with', () => {
    assert.deepEqual(registryEndpoints('docker.io', [], ['http://10.0.0.5:5000/', 'm.example']), [
      { baseUrl: 'http://10.0.0.5:5000', host: '10.0.0.5:5000', isMirror: true },
      { baseUrl: 'https://m.example', host: 'm.example', isMirror: true },
      { baseUrl: 'https://registry-1.docker.io', host: 'docker.io', isMirror: false },
    ]);
  });
});
