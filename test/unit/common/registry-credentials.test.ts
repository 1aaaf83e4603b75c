import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError } from '../../../common/errors.js';
import {
  credentialHelper,
  findCredentials,
  parseCredentialsFile,
  registryOfReference,
  registryOfServer,
  withCredentials,
  withoutCredentials,
} from '../../../common/registry-credentials.js';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const find = (file: object, registry: string): unknown =>
  findCredentials(parseCredentialsFile(JSON.stringify(file), 'f'), registry, 'f');

describe('credentials of registries', () => {
  const servers: [string, string][] = [
    ['', 'docker.io'],
    ['docker.io', 'docker.io'],
    ['https://index.docker.io/v1/', 'docker.io'],
    ['registry-1.docker.io', 'docker.io'],
    ['https://R.Example:5000/v2/', 'r.example:5000'],
    ['http://127.0.0.1:5000', '127.0.0.1:5000'],
    ['[::1]:5000', '[::1]:5000'],
  ];
  for (const [server, registry] of servers) {
    it(`takes "${server}" for ${registry}`, () => {
      assert.equal(registryOfServer(server), registry);
    });
  }
  for (const server of ['user@host', 'a b', '-x', 'ftp://x', 'host:port', '..']) {
    it(`refuses "${server}"`, () => {
      assert.throws(() => registryOfServer(server), { kind: 'invalid-argument' });
    });
  }

  it('knows the registry of a reference', () => {
    const of = (reference: string): string => registryOfReference(reference);
    assert.deepEqual(
      ['nginx', 'team/web:1', 'nginx:1.2', 'docker.io/x', 'r.example/a/b:1', 'localhost/x'].map(of),
      ['docker.io', 'docker.io', 'docker.io', 'docker.io', 'r.example', 'localhost'],
    );
    assert.equal(of('127.0.0.1:5000/web@sha256:00'), '127.0.0.1:5000');
  });

  it('finds what docker wrote, in every form', () => {
    const auths = {
      'https://index.docker.io/v1/': { auth: base64('ann:pass:word') },
      'r.example': { username: 'bob', password: 'x' },
      'https://token.example': { auth: base64('cleo:'), identitytoken: 'tok' },
      'helped.example': {},
    };
    const of = (username: string, password: string, identityToken = ''): object => ({
      username,
      password,
      identityToken,
    });
    assert.deepEqual(find({ auths }, 'docker.io'), of('ann', 'pass:word'));
    assert.deepEqual(find({ auths }, 'r.example'), of('bob', 'x'));
    assert.deepEqual(find({ auths }, 'token.example'), of('cleo', '', 'tok'));
    assert.equal(find({ auths }, 'helped.example'), undefined);
    assert.equal(find({ auths }, 'r.example:5000'), undefined);
    assert.equal(find({}, 'r.example'), undefined);
  });

  it('names the helper of a registry, else the one for all', () => {
    const file = { credHelpers: { 'gcr.io': 'gcloud' }, credsStore: 'pass' };
    assert.equal(credentialHelper(file, 'gcr.io'), 'gcloud');
    assert.equal(credentialHelper(file, 'docker.io'), 'pass');
    assert.equal(credentialHelper({}, 'docker.io'), undefined);
  });

  it('says what is wrong, without a word of the content', () => {
    const wrong: [string, RegExp][] = [
      ['{"auths": "secret', /^credentials file f: is not JSON$/],
      ['[]', /is not a JSON object/],
      ['{"auths": []}', /"auths" is not an object/],
    ];
    for (const [text, message] of wrong) {
      assert.throws(() => parseCredentialsFile(text, 'f'), { kind: 'invalid-argument', message });
    }
    const noColon = { auths: { r: { auth: base64('secret') } } };
    assert.throws(() => find(noColon, 'r'), /f: the entry "r": "auth" is not base64 of name:pass/);
    assert.throws(() => find({ auths: { r: { auth: 5 } } }, 'r'), /"auth" is not a text/);
    assert.throws(() => find({ auths: { r: 'x' } }, 'r'), /the entry "r" is not an object/);
  });

  const credentials = fc.record(
    {
      username: fc.string({ minLength: 1 }).filter((name) => !name.includes(':')),
      password: fc.string().filter((word) => !word.endsWith('\0')),
      identityToken: fc.constant(''),
    },
    { noNullPrototype: true },
  );

  it('finds what was put in, and nothing after it was taken out', () => {
    const registries = fc.constantFrom('docker.io', 'r.example', '127.0.0.1:5000');
    fc.assert(
      fc.property(registries, registries, credentials, credentials, (a, b, first, second) => {
        const empty = { auths: {}, HttpHeaders: { keep: 'me' } };
        const file = withCredentials(withCredentials(empty, a, first), b, second);
        assert.deepEqual(findCredentials(file, b, 'f'), second);
        assert.deepEqual(findCredentials(file, a, 'f'), a === b ? second : first);
        const without = withoutCredentials(file, b);
        assert.equal(findCredentials(without, b, 'f'), undefined);
        assert.deepEqual(withoutCredentials(without, a), empty);
      }),
    );
  });

  it('survives any file', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), fc.string(), (text, registry) => {
        try {
          const file = parseCredentialsFile(text, 'f');
          findCredentials(file, registry, 'f');
          credentialHelper(file, registry);
        } catch (error) {
          assert.ok(error instanceof HatobaError, String(error));
        }
      }),
    );
  });
});
