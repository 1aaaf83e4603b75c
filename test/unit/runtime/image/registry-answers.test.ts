import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import { parsePlatformName } from '../../../../runtime/core/manifest.js';
import { parseRegistryAnswer } from '../../../../runtime/image/registry-error.js';
import { parseToken, tokenRealm } from '../../../../runtime/image/registry-token.js';

const bytes = fc.oneof(
  fc.json().map((text) => Buffer.from(text)),
  fc.uint8Array().map((array) => Buffer.from(array)),
  fc
    .record(
      {
        token: fc.jsonValue(),
        access_token: fc.jsonValue(),
        expires_in: fc.jsonValue(),
        errors: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    .map((answer) => Buffer.from(JSON.stringify(answer))),
);

/** @returns undefined where it is refused as it should be */
function refusedOr<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    assert.ok(error instanceof HatobaError, String(error));
    return undefined;
  }
}

describe('what registries answer, whatever it is', () => {
  it('is a refusal with a status', () => {
    fc.assert(
      fc.property(bytes, (body) => {
        const { status, code, message } = parseRegistryAnswer(418, body);
        assert.equal(status, 418);
        assert.ok(typeof code === 'string' && typeof message === 'string');
      }),
    );
  });

  it('is a token that fits into a header, or none', () => {
    fc.assert(
      fc.property(bytes, (body) => {
        const token = refusedOr(() => parseToken(body, 1000));
        if (token === undefined) return;
        assert.doesNotThrow(() => new Headers({ Authorization: `Bearer ${token.token}` }));
        assert.ok(token.expiresAtMs >= 1000);
      }),
    );
  });

  it('sends credentials to no plain address that is not named so', () => {
    const address = fc.oneof(fc.webUrl(), fc.string(), fc.constant('http://auth.example/t'));
    fc.assert(
      fc.property(address, fc.boolean(), (realm, isSecret) => {
        const baseUrl = 'http://r.example';
        const rules = { baseUrl, insecureRegistries: ['r.example'], isSecret };
        const url = refusedOr(() => tokenRealm({ scheme: 'bearer', parameters: { realm } }, rules));
        if (url === undefined) return;
        assert.ok(url.protocol === 'https:' || (url.protocol === 'http:' && !isSecret));
      }),
    );
    const rules = {
      baseUrl: 'http://r.example',
      insecureRegistries: ['r.example'],
      isSecret: true,
    };
    const own = { scheme: 'bearer', parameters: { realm: 'http://r.example/t' } };
    assert.equal(tokenRealm(own, rules).href, 'http://r.example/t');
  });

  it('reads platforms as people write them, and refuses what is none', () => {
    const cases: [string, string[]][] = [
      ['linux/arm/v7', ['linux', 'arm', 'v7']],
      ['linux/x86_64', ['linux', 'amd64', '']],
      ['aarch64', ['linux', 'arm64', '']],
      ['__proto__', ['linux', '__proto__', '']],
    ];
    for (const [text, expected] of cases) {
      const { os, architecture, variant } = parsePlatformName(text);
      assert.deepEqual([os, architecture, variant], expected);
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        const platform = refusedOr(() => parsePlatformName(text));
        if (platform !== undefined) assert.match(platform.architecture, /^[a-z0-9_.-]+$/);
      }),
    );
  });
});
