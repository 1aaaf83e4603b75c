import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  credentialsFor,
  dropCredentials,
  keepCredentials,
  parseHelperAnswer,
} from '../../../cli/credentials.js';
import { readConfig, type CliConfig } from '../../../cli/config.js';
import { isKind } from '../../../common/errors.js';

describe('the credentials of a user', () => {
  let home: string;
  let config: CliConfig;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'ht-home-'));
    config = readConfig({ HOME: home, PATH: `${home}/bin:/usr/bin:/bin` });
  });

  afterEach(() => {
    rmSync(home, { recursive: true });
  });

  function docker(file: object): void {
    mkdirSync(join(home, '.docker'));
    writeFileSync(join(home, '.docker', 'config.json'), JSON.stringify(file));
  }

  function helper(name: string, script: string): void {
    mkdirSync(join(home, 'bin'));
    const path = join(home, 'bin', `docker-credential-${name}`);
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
  }

  const auth = { username: 'ann', password: 'pa:ss', identityToken: '' };
  const base64 = Buffer.from('bob:dock').toString('base64');
  const bob = { username: 'bob', password: 'dock', identityToken: '' };

  it('are kept for nobody else to read, found, and dropped', async () => {
    assert.equal(await credentialsFor(config, 'r.example/web:1'), undefined);
    const path = await keepCredentials(config, 'r.example', auth);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(config.configDir).mode & 0o777, 0o700);
    assert.deepEqual(await credentialsFor(config, 'r.example/web:1'), auth);
    assert.equal(await credentialsFor(config, 'web:1'), undefined);
    await keepCredentials(config, 'docker.io', auth);
    assert.match(readFileSync(path, 'utf8'), /"https:\/\/index.docker.io\/v1\/"/);
    assert.deepEqual(await credentialsFor(config, 'web:1'), auth);
    assert.equal(await dropCredentials(config, 'r.example'), true);
    assert.equal(await dropCredentials(config, 'r.example'), false);
    assert.equal(await credentialsFor(config, 'r.example/web:1'), undefined);
    assert.deepEqual(await credentialsFor(config, 'web:1'), auth);
  });

  it("are docker's where Hatoba has none of its own", async () => {
    docker({ auths: { 'r.example': { auth: base64 } } });
    assert.deepEqual(await credentialsFor(config, 'r.example/web'), bob);
    await keepCredentials(config, 'r.example', auth);
    assert.deepEqual(await credentialsFor(config, 'r.example/web'), auth);
  });

  it('come from a credential helper, which is told the registry', async () => {
    docker({ credsStore: 'test', auths: { 'r.example': {} } });
    helper(
      'test',
      'read s; echo "{\\"ServerURL\\":\\"$s\\",\\"Username\\":\\"$s\\",\\"Secret\\":\\"x\\"}"',
    );
    const found = await credentialsFor(config, 'web:1');
    assert.equal(found?.username, 'https://index.docker.io/v1/');
    assert.equal((await credentialsFor(config, 'r.example/web'))?.username, 'r.example');
  });

  it('are none when the helper has none or is not here, and its failure is told', async () => {
    docker({ credHelpers: { a: 'gone', 'b.c': 'empty', 'd.e': '../evil' } });
    helper('empty', 'echo credentials not found in native keychain; exit 1');
    assert.equal(await credentialsFor(config, 'b.c/web'), undefined);
    assert.equal(await credentialsFor(config, 'd.e/web'), undefined);
    helperFails();
    await assert.rejects(credentialsFor(config, 'b.c/web'), {
      kind: 'unauthenticated',
      message: 'docker-credential-empty: the keyring is locked',
    });
  });

  function helperFails(): void {
    rmSync(join(home, 'bin'), { recursive: true });
    helper('empty', 'echo the keyring is locked; exit 1');
  }

  it('read what a helper says, and survive anything else', () => {
    assert.deepEqual(parseHelperAnswer('{"Username":"<token>","Secret":"t"}', 'p'), {
      username: '',
      password: '',
      identityToken: 't',
    });
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (output) => {
        try {
          parseHelperAnswer(output, 'p');
        } catch (error) {
          assert.ok(isKind(error, 'invalid-argument'));
        }
      }),
    );
  });
});
