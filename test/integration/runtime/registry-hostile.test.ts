import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { readdirSync } from 'node:fs';
import type { TransferOptions } from '../../../runtime/engine.js';
import { blobOf, makeImage, type BuiltImage } from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';
import { ScriptedRegistry, hurriedClock, impatientClock } from '../../support/scripted-registry.js';

const ANN = { username: 'ann', password: 'secret', identityToken: '' };

interface Misbehaviour {
  readonly name: string;
  readonly how: (response: ServerResponse) => void;
  readonly message: RegExp;
  readonly isSilent?: boolean;
}

describe('registries that mean harm', () => {
  let registry: ScriptedRegistry;
  let other: ScriptedRegistry;
  let rig: ImageRig;
  let image: BuiltImage;
  let layer: { digest: string; bytes: Buffer };

  before(async function () {
    requiresRoot(this);
    image = await makeImage({ layers: [[{ name: 'f', content: randomBytes(200_000) }]] });
  });

  beforeEach(async () => {
    registry = await ScriptedRegistry.start();
    other = await ScriptedRegistry.start();
    rig = await ImageRig.open({ clock: hurriedClock });
    const [, blob] = registry.hold(image, 'web', '1');
    assert.ok(blob);
    layer = blob;
  });

  afterEach(async () => {
    registry.stop();
    other.stop();
    await rig.close();
  });

  /** For what ends only because nobody waits for ever. */
  async function becomeImpatient(): Promise<void> {
    await rig.close();
    rig = await ImageRig.open({ clock: impatientClock });
  }

  /** Lets the registry answer requests whose path has `part` in its own way. */
  function answer(part: string, how: (response: ServerResponse) => void): void {
    registry.trap = (request, response) => {
      if (request.url?.includes(part) !== true) return false;
      how(response);
      return true;
    };
  }

  async function assertRefused(
    expected: { kind: string; message: RegExp },
    options: TransferOptions = {},
  ): Promise<void> {
    await assert.rejects(rig.images.pull(`${registry.host}/web:1`, options), expected);
    assert.deepEqual(await rig.images.list(), []);
    assert.deepEqual(readdirSync(rig.path('staging')), []);
    assert.deepEqual(readdirSync(rig.path('layers')), []);
  }

  /** Writes without end, for as long as somebody reads. */
  function flood(response: ServerResponse, piece: string | Buffer = Buffer.alloc(65_536)): void {
    const more = (): void => {
      while (!response.destroyed && response.write(piece));
    };
    response.on('drain', more);
    more();
  }

  const blobs: Misbehaviour[] = [
    {
      name: 'never ends',
      how: (response) => flood(response.writeHead(200)),
      message: /blob sha256:.* it goes on after the \d+ bytes it should have/,
    },
    {
      name: 'is cut short, as if that were all',
      how: (response) => response.end(layer.bytes.subarray(0, 1000)),
      message: /it ended after \d+ of \d+ bytes/,
    },
    {
      name: 'is another one of the same length',
      how: (response) => response.end(Buffer.alloc(layer.bytes.length)),
      message: /arrived as sha256:/,
    },
    {
      name: 'says another length than comes',
      how: (response) => {
        response.writeHead(200, { 'Content-Length': layer.bytes.length + 10 });
        response.write(layer.bytes, () => setImmediate(() => response.destroy()));
      },
      message: /not reachable/,
    },
    {
      name: 'does not come at all',
      isSilent: true,
      how: (response) => response.writeHead(200).flushHeaders(),
      message: /did not come within 30 s/,
    },
  ];
  for (const { name, how, message, isSilent = false } of blobs) {
    it(`a layer that ${name}`, async () => {
      if (isSilent) await becomeImpatient();
      answer(layer.digest, how);
      await assert.rejects(rig.images.pull(`${registry.host}/web:1`), { message });
      assert.deepEqual(await rig.images.list(), []);
      assert.deepEqual(readdirSync(rig.path('layers')), []);
    });
  }

  it('a manifest of ten megabytes', async () => {
    const manifest = { schemaVersion: 2, config: 'x'.repeat(10 * 1024 * 1024) };
    answer('/manifests/', (response) => response.end(JSON.stringify(manifest)));
    await assertRefused({ kind: 'resource-exhausted', message: /has more than 4194304 bytes/ });
  });

  it('sizes that no image has', async () => {
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const blob = (kind: string, size: number): object => ({
      mediaType: `application/vnd.oci.image.${kind}`,
      digest: image.id,
      size,
    });
    const config = 'config.v1+json';
    for (const [configBytes, layerBytes] of [
      [10 * 1024 * 1024, 1],
      [1, 2 ** 50],
    ] as const) {
      const layers = [blob('layer.v1.tar', layerBytes)];
      const manifest = {
        schemaVersion: 2,
        mediaType: type,
        config: blob(config, configBytes),
        layers,
      };
      registry.set('web/manifests/1', Buffer.from(JSON.stringify(manifest)), type);
      await assertRefused({ kind: 'invalid-argument', message: /\d{8,} bytes, too many/ });
    }
    assert.ok(registry.requests.every((request) => request.includes('/manifests/')));
  });

  it('an index that leads to itself', async () => {
    const type = 'application/vnd.oci.image.index.v1+json';
    const entry = { mediaType: type, digest: `sha256:${'1'.repeat(64)}`, size: 2 };
    const inner = blobOf(JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [entry] }));
    const outer = { ...entry, digest: inner.digest };
    const index = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [outer] });
    registry.set('web/manifests/1', Buffer.from(index), type);
    registry.set(`web/manifests/${inner.digest}`, inner.bytes, type);
    await assertRefused({ kind: 'failed-precondition', message: /an index within an index/ });
  });

  it('a bomb of headers', async () => {
    answer('/manifests/', (response) => {
      response.writeHead(200, { 'X-Bomb': 'x'.repeat(1024 * 1024) }).end('{}');
    });
    await assertRefused({ kind: 'unavailable', message: /not reachable: .*[Hh]eader/ });
  });

  it('a refusal without end', async () => {
    answer('/manifests/', (response) => flood(response.writeHead(403)));
    await assertRefused({ kind: 'resource-exhausted', message: /has more than 65536 bytes/ });
  });

  it('redirects in a circle, to no address, and to another scheme', async () => {
    for (const [location, message] of [
      [`http://${registry.host}/v2/web/manifests/1`, /more than 10 redirects/],
      ['http://', /a redirect to no address/],
      ['file:///etc/passwd', /a redirect to no address/],
    ] as const) {
      answer('/manifests/', (response) => response.writeHead(307, { location }).end());
      await assertRefused({ kind: 'failed-precondition', message });
    }
  });

  describe('and want credentials', () => {
    /** What was shown to whom. */
    let shown: string[];
    const challenge = (header: string): void => {
      registry.trap = (request, response) => {
        if (request.url?.startsWith('/v2/') !== true) return false;
        if (request.headers.authorization !== undefined) {
          shown.push(`registry: ${request.headers.authorization}`);
        }
        response.writeHead(401, { 'WWW-Authenticate': header }).end();
        return true;
      };
    };
    const tokenServer = (how: (response: ServerResponse) => void): void => {
      other.trap = (request, response) => {
        shown.push(`token: ${request.headers.authorization ?? 'nothing'}`);
        how(response);
        return true;
      };
      challenge(`Bearer realm="http://${other.host}/token"`);
    };

    beforeEach(() => {
      shown = [];
    });

    const misbehaving: Misbehaviour[] = [
      { name: 'no JSON', how: (r) => r.end('<html>'), message: /token answer is not JSON/ },
      { name: 'no token', how: (r) => r.end('{}'), message: /answered without a token/ },
      {
        name: 'a token that would be two headers',
        how: (r) => r.end('{"token":"a\\r\\nX-Evil: 1"}'),
        message: /answered without a token/,
      },
      { name: 'a flood', how: (r) => flood(r.writeHead(200)), message: /more than 65536 bytes/ },
      {
        name: 'nothing',
        isSilent: true,
        how: (r) => r.flushHeaders(),
        message: /did not come within 30 s/,
      },
      { name: 'an error', how: (r) => r.writeHead(503).end(), message: /token not given: .*503/ },
    ];
    for (const { name, how, message, isSilent = false } of misbehaving) {
      it(`from a token server that answers with ${name}`, async () => {
        if (isSilent) await becomeImpatient();
        tokenServer(how);
        await assert.rejects(rig.images.pull(`${registry.host}/web:1`), { message });
      });
    }

    it('again and again, whatever token is shown', async () => {
      tokenServer((response) => response.end('{"token":"t"}'));
      await assertRefused({ kind: 'unauthenticated', message: /registry answered 401/ });
      assert.deepEqual(shown, ['token: nothing', 'registry: Bearer t']);
    });

    it('by name and password, again and again', async () => {
      challenge('Basic realm="x"');
      await assertRefused(
        { kind: 'unauthenticated', message: /the credentials for .* are wrong/ },
        { auth: ANN },
      );
      assert.equal(shown.length, 1);
    });

    it('at a place that is not named insecure', async () => {
      challenge('Bearer realm="http://198.51.100.7/token"');
      await assertRefused(
        { kind: 'unauthenticated', message: /credentials go over plain HTTP only to/ },
        { auth: ANN },
      );
      assert.deepEqual(shown, []);
    });

    it('for somebody else, by a redirect of the token server or their own', async () => {
      const thief = await ScriptedRegistry.start();
      const stolen: (string | undefined)[] = [];
      thief.trap = (request, response) => {
        stolen.push(request.headers.authorization);
        response.end('{"token":"t"}');
        return true;
      };
      const location = `http://${thief.host}/`;
      tokenServer((response) => response.writeHead(307, { location }).end());
      await assertRefused({ kind: 'unauthenticated', message: /401/ }, { auth: ANN });
      registry.trap = (request, response) => {
        const isShown = request.headers.authorization !== undefined;
        if (isShown) response.writeHead(307, { location }).end();
        else response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
        return true;
      };
      await assert.rejects(rig.images.pull(`${registry.host}/web:1`, { auth: ANN }));
      thief.stop();
      assert.deepEqual(stolen, [undefined, undefined]);
    });

    it('of an identity token, by a redirect', async () => {
      tokenServer((response) =>
        response.writeHead(307, { location: `http://${registry.host}/` }).end(),
      );
      const auth = { username: '', password: '', identityToken: 'secret' };
      await assertRefused(
        { kind: 'failed-precondition', message: /token not given: .*307/ },
        { auth },
      );
    });
  });
});
