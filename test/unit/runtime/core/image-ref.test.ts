import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  familiarReference,
  formatReference,
  parseImageReference,
  referenceKey,
} from '../../../../runtime/core/image-ref.js';

const HEX = '0123456789abcdef'.repeat(4);
const DIGEST = `sha256:${HEX}`;

describe('image references', () => {
  const cases: { text: string; whole: string; familiar?: string }[] = [
    { text: 'nginx', whole: 'docker.io/library/nginx:latest', familiar: 'nginx:latest' },
    { text: 'nginx:1.27', whole: 'docker.io/library/nginx:1.27' },
    { text: 'team/web:2', whole: 'docker.io/team/web:2' },
    { text: 'docker.io/nginx:1', whole: 'docker.io/library/nginx:1', familiar: 'nginx:1' },
    { text: 'index.docker.io/a/b:1', whole: 'docker.io/a/b:1', familiar: 'a/b:1' },
    { text: 'library/nginx:1', whole: 'docker.io/library/nginx:1', familiar: 'nginx:1' },
    { text: 'library/a/b:1', whole: 'docker.io/library/a/b:1' },
    { text: 'docker.io/a.b/c:1', whole: 'docker.io/a.b/c:1' },
    { text: 'localhost/web:1', whole: 'localhost/web:1' },
    { text: '127.0.0.1:5000/web:9', whole: '127.0.0.1:5000/web:9' },
    { text: '[::1]:5000/web:9', whole: '[::1]:5000/web:9' },
    { text: 'registry.example/a/b/c:x', whole: 'registry.example/a/b/c:x' },
    { text: 'HOST/web:1', whole: 'HOST/web:1' },
    { text: `web@${DIGEST}`, whole: `docker.io/library/web@${DIGEST}` },
    { text: `web:2@${DIGEST}`, whole: `docker.io/library/web:2@${DIGEST}` },
    { text: `r.io:1/web@${DIGEST}`, whole: `r.io:1/web@${DIGEST}` },
    { text: 'a__b/c-d.e_f--g:T_1.x-', whole: 'docker.io/a__b/c-d.e_f--g:T_1.x-' },
  ];
  for (const { text, whole, familiar = text } of cases) {
    it(`reads ${text}`, () => {
      const reference = parseImageReference(text);
      assert.equal(formatReference(reference), whole);
      assert.equal(familiarReference(reference), familiar);
    });
  }

  const mistakes: { text: string; message: RegExp }[] = [
    { text: '', message: /image reference "": it has no name/ },
    { text: ':1', message: /it has no name/ },
    { text: 'Web', message: /the repository must be in lower case/ },
    { text: 'web:', message: /"" is not a tag/ },
    { text: 'web:-x', message: /"-x" is not a tag/ },
    { text: `web:${'x'.repeat(129)}`, message: /is not a tag/ },
    { text: 'web@sha256:12', message: /"sha256:12" is not a digest/ },
    { text: `web@${DIGEST}@${DIGEST}`, message: /is not a digest/ },
    { text: 'a//b', message: /"a\/\/b" is not a repository/ },
    { text: 'a/../b', message: /is not a repository/ },
    { text: '-a', message: /is not a repository/ },
    { text: 'a___b', message: /is not a repository/ },
    { text: 'web 1', message: /is not a repository/ },
    { text: 'r.io:port/web', message: /"r.io:port" is not a registry's host and port/ },
    { text: '-r.io/web', message: /is not a registry's host/ },
    { text: HEX, message: /64 hexadecimal digits would be taken for an image id/ },
    { text: `r.io/${'a'.repeat(255)}`, message: /longer than 255 characters/ },
  ];
  for (const { text, message } of mistakes) {
    it(`refuses "${text.slice(0, 40)}"`, () => {
      assert.throws(() => parseImageReference(text), { kind: 'invalid-argument', message });
    });
  }

  it('finds an image of a tag and a digest by the digest alone', () => {
    const key = referenceKey(parseImageReference(`web:2@${DIGEST}`));
    assert.equal(key, `docker.io/library/web@${DIGEST}`);
  });

  const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
  const registry = fc.oneof(
    fc.constant(''),
    fc.constantFrom('docker.io/', 'localhost/', '127.0.0.1:5000/', 'r.example/', '[fd00::1]:80/'),
  );
  const reference = fc
    .record({
      registry,
      repository: fc.array(component, { minLength: 1, maxLength: 3 }).map((c) => c.join('/')),
      tag: fc.option(fc.stringMatching(/^\w[\w.-]{0,20}$/), { nil: undefined }),
      digest: fc.option(fc.stringMatching(/^[0-9a-f]{64}$/), { nil: undefined }),
    })
    .map(
      (r) =>
        // a first part with a dot would be taken for a registry
        (r.registry === '' && /^[^/]*\..*\//.test(r.repository) ? 'docker.io/' : r.registry) +
        r.repository +
        (r.tag === undefined ? '' : `:${r.tag}`) +
        (r.digest === undefined ? '' : `@sha256:${r.digest}`),
    );

  it('reads what it writes, in both forms, as the same reference', () => {
    fc.assert(
      fc.property(reference, (text) => {
        const parsed = parseImageReference(text);
        assert.deepEqual(parseImageReference(formatReference(parsed)), parsed);
        assert.deepEqual(parseImageReference(familiarReference(parsed)), parsed);
      }),
      { numRuns: 500 },
    );
  });

  it('either reads a text whole or says that it is wrong', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => {
        try {
          parseImageReference(text);
        } catch (error) {
          assert.equal((error as { kind?: string }).kind, 'invalid-argument');
        }
      }),
      { numRuns: 1000 },
    );
  });
});
