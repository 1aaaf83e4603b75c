import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { toDigest } from '../../../../runtime/core/digest.js';
import { parseImageReference } from '../../../../runtime/core/image-ref.js';
import {
  RegistryClient,
  type RegistryClientModules,
} from '../../../../runtime/image/registry-client.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { seededRandom } from '../../../support/seeded-random.js';

const REFERENCE = parseImageReference('r.example/team/web:1');
const MANIFEST = '{"schemaVersion":2}';
const DIGEST = toDigest(`sha256:${createHash('sha256').update(MANIFEST).digest('hex')}`);

/** A server in memory: answers each request by the next of its answers, and keeps the requests. */
class FakeServer {
  readonly requests: { url: string; headers: Record<string, string> }[] = [];
  readonly clock = new FakeClock();
  readonly #answers: (() => Response | Promise<Response>)[];

  constructor(...answers: (() => Response | Promise<Response>)[]) {
    this.#answers = answers;
  }

  client(modules: Partial<RegistryClientModules> = {}): RegistryClient {
    const send: typeof fetch = async (input, init) => {
      const url = input instanceof Request ? input.url : input.toString();
      this.requests.push({ url, headers: Object.fromEntries(new Headers(init?.headers)) });
      const answer = this.#answers.shift();
      if (answer === undefined) throw new Error(`an unexpected request of ${url}`);
      const aborted = new Promise<never>((_resolve, reject) => {
        init?.signal?.addEventListener('abort', () => {
          reject(init.signal?.reason as Error);
        });
      });
      const response = await Promise.race([answer(), aborted]);
      // as with the real fetch, the signal ends the body too
      const signal = init?.signal ?? new AbortController().signal;
      const body = response.body?.pipeThrough(new TransformStream(), { signal }) ?? null;
      return new Response(body, response);
    };
    const random = seededRandom(1);
    return new RegistryClient({
      fetch: send,
      clock: this.clock,
      random,
      insecureRegistries: [],
      ...modules,
    });
  }

  /** Lets a call go on over its pauses. */
  async settle<T>(call: Promise<T>): Promise<T> {
    let done = false;
    call.then(
      () => (done = true),
      () => (done = true),
    );
    for (let i = 0; i < 200 && !(done as boolean); i++) await this.clock.advance(1000);
    return await call;
  }
}

const signal = new AbortController().signal;
const ok = (): Response => new Response(MANIFEST, { headers: { 'Content-Type': 'a/b; c=d' } });
const refuse =
  (status: number, code = '', headers: Record<string, string> = {}) =>
  (): Response =>
    new Response(JSON.stringify({ errors: [{ code, message: 'why' }] }), { status, headers });
const challenge = { 'WWW-Authenticate': 'Bearer realm="https://auth.example/t",service="s"' };
const grant = (): Response => Response.json({ token: 'secret', expires_in: 300 });

describe('the registry client', () => {
  it('asks for a manifest by tag, over HTTPS, with every type it can read', async () => {
    const server = new FakeServer(ok);
    const found = await server.client().manifest(REFERENCE, undefined, { signal });
    assert.deepEqual(
      [Buffer.from(found.bytes).toString(), found.mediaType, found.digest],
      [MANIFEST, 'a/b', DIGEST],
    );
    const [request] = server.requests;
    assert.equal(request?.url, 'https://r.example/v2/team/web/manifests/1');
    assert.equal(request.headers['accept']?.split(', ').length, 4);
    assert.equal(request.headers['accept-encoding'], 'identity');
    assert.equal(request.headers['authorization'], undefined);
    assert.equal(server.clock.pendingTimers, 0);
  });

  it('gets an anonymous token when asked to, and keeps it until it ends', async () => {
    const server = new FakeServer(refuse(401, 'UNAUTHORIZED', challenge), grant, ok, ok);
    const client = server.client();
    await client.manifest(REFERENCE, undefined, { signal });
    await client.manifest(REFERENCE, undefined, { signal });
    assert.deepEqual(
      server.requests.map((r) => [r.url, r.headers['authorization'] ?? '']),
      [
        ['https://r.example/v2/team/web/manifests/1', ''],
        ['https://auth.example/t?service=s&scope=repository%3Ateam%2Fweb%3Apull', ''],
        ['https://r.example/v2/team/web/manifests/1', 'Bearer secret'],
        ['https://r.example/v2/team/web/manifests/1', 'Bearer secret'],
      ],
    );
  });

  it('gets a new token when the old one has ended', async () => {
    const denied = refuse(401, '', challenge);
    const server = new FakeServer(denied, grant, ok, denied, grant, ok);
    const client = server.client();
    await client.manifest(REFERENCE, undefined, { signal });
    await server.clock.advance(300_000);
    await client.manifest(REFERENCE, undefined, { signal });
    assert.equal(server.requests[3]?.headers['authorization'], undefined);
    assert.equal(server.requests.length, 6);
  });

  const tokenTraps: { name: string; realm: string; message: RegExp }[] = [
    { name: 'plain HTTP', realm: 'http://auth.example/t', message: /is no safe address/ },
    { name: 'a file', realm: 'file:///etc/passwd', message: /is no safe address/ },
    { name: 'nowhere', realm: '', message: /is no safe address/ },
  ];
  for (const { name, realm, message } of tokenTraps) {
    it(`does not go for a token to ${name}`, async () => {
      const header = { 'WWW-Authenticate': `Bearer realm="${realm}"` };
      const server = new FakeServer(refuse(401, '', header));
      await assert.rejects(server.client().manifest(REFERENCE, undefined, { signal }), {
        kind: 'unauthenticated',
        message,
      });
      assert.equal(server.requests.length, 1);
    });
  }

  const refusals: { status: number; kind: string; message: RegExp }[] = [
    {
      status: 404,
      kind: 'not-found',
      message:
        /^image "r.example\/team\/web:1" not found: registry answered 404 CODE \(why\) at https:\/\/r.example$/,
    },
    {
      status: 401,
      kind: 'unauthenticated',
      message: /refused: registry answered 401 CODE .*login r\.example$/,
    },
    { status: 403, kind: 'permission-denied', message: /refused: registry answered 403/ },
    { status: 418, kind: 'failed-precondition', message: /not pulled: registry answered 418/ },
  ];
  for (const { status, kind, message } of refusals) {
    it(`tells of ${status} at once`, async () => {
      const server = new FakeServer(refuse(status, 'CODE'));
      await assert.rejects(server.client().manifest(REFERENCE, undefined, { signal }), {
        kind,
        message,
      });
      assert.equal(server.clock.pendingTimers, 0);
    });
  }

  it('tells of answers that are no JSON', async () => {
    const server = new FakeServer(() => new Response('<html>', { status: 404 }));
    await assert.rejects(
      server.client().manifest(REFERENCE, undefined, { signal }),
      /not found: registry answered 404 at https:/,
    );
  });

  it('tries again after what may pass', async () => {
    const failed = (): never => {
      throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') });
    };
    const server = new FakeServer(refuse(503), failed, refuse(429), ok);
    const found = await server.settle(server.client().manifest(REFERENCE, undefined, { signal }));
    assert.equal(found.digest, DIGEST);
  });

  it('waits as long as the registry asks', async () => {
    const busy = refuse(429, 'TOOMANYREQUESTS', { 'Retry-After': '40' });
    const server = new FakeServer(busy, ok);
    const call = server.client().manifest(REFERENCE, undefined, { signal });
    await server.clock.advance(39_999);
    assert.equal(server.requests.length, 1);
    await server.clock.advance(1);
    assert.equal((await call).digest, DIGEST);
    assert.equal(server.clock.pendingTimers, 0);
  });

  it('says at once how long to wait when that is too long', async () => {
    const server = new FakeServer(refuse(429, '', { 'Retry-After': '3600' }));
    await assert.rejects(server.client().manifest(REFERENCE, undefined, { signal }), {
      kind: 'unavailable',
      message: /answered 429 .*; its rate limit is reached: wait 3600 s$/,
    });
    assert.equal(server.clock.pendingTimers, 0);
  });

  it('gives up after four tries, with the last reason', async () => {
    const server = new FakeServer(refuse(500), refuse(500), refuse(500), refuse(502, 'BAD'));
    await assert.rejects(
      server.settle(server.client().manifest(REFERENCE, undefined, { signal })),
      {
        kind: 'unavailable',
        message: /not pulled: registry answered 502 BAD/,
      },
    );
  });

  it('does not wait for ever for an answer', async () => {
    const silent = (): Promise<Response> => new Promise(() => undefined);
    const server = new FakeServer(silent, silent, silent, silent);
    await assert.rejects(
      server.settle(server.client().manifest(REFERENCE, undefined, { signal })),
      {
        kind: 'deadline',
        message:
          /image "r.example\/team\/web:1" not pulled: .* an answer of https:\/\/r.example did not come within 30 s/,
      },
    );
  });

  it('does not wait for ever for the rest of an answer', async () => {
    const half = (): Response =>
      new Response(
        new ReadableStream({
          start: (controller) => {
            controller.enqueue(new Uint8Array([1]));
          },
        }),
      );
    const server = new FakeServer(half, half, half, half);
    const call = server.client().manifest(REFERENCE, undefined, { signal });
    await assert.rejects(server.settle(call), { kind: 'deadline' });
  });

  it('ends at once when its caller gives up, also in a pause', async () => {
    const controller = new AbortController();
    const server = new FakeServer(refuse(503));
    const call = server.client().manifest(REFERENCE, undefined, { signal: controller.signal });
    const ended = assert.rejects(call, /no more/);
    await server.clock.advance(1);
    controller.abort(new Error('no more'));
    await ended;
    assert.equal(server.clock.pendingTimers, 0);
  });

  it('refuses a manifest that is not the one asked for', async () => {
    const other = toDigest(`sha256:${'0'.repeat(64)}`);
    const server = new FakeServer(ok, ok, ok, ok);
    await assert.rejects(
      server.settle(server.client().manifest(REFERENCE, other, { signal })),
      /manifest sha256:0{64} arrived as sha256:/,
    );
    assert.match(server.requests[0]?.url ?? '', /manifests\/sha256:0{64}$/);
  });

  it('refuses a registry that sends it from HTTPS to plain HTTP, and asks nothing there', async () => {
    const headers = { Location: 'http://r.example/other' };
    const server = new FakeServer(() => new Response(null, { status: 307, headers }));
    await assert.rejects(server.client().manifest(REFERENCE, undefined, { signal }), {
      kind: 'failed-precondition',
      message:
        /image "r\.example\/team\/web:1" not pulled: .* sends its callers to http:\/\/r\.example/,
    });
    assert.equal(server.requests.length, 1);
  });

  it('refuses an answer without end', async () => {
    const endless = (): Response =>
      new Response(
        new ReadableStream({
          pull: (controller) => {
            controller.enqueue(new Uint8Array(1024 * 1024));
          },
        }),
      );
    await assert.rejects(
      new FakeServer(endless).client().manifest(REFERENCE, undefined, { signal }),
      {
        kind: 'resource-exhausted',
        message: /more than 4194304 bytes/,
      },
    );
  });

  describe('with credentials', () => {
    const ann = { username: 'ann', password: 'pa:ss', identityToken: '' };
    const basic = `Basic ${Buffer.from('ann:pa:ss').toString('base64')}`;
    const seen = (server: FakeServer): string[] =>
      server.requests.map((r) =>
        `${new URL(r.url).host} ${r.headers['authorization'] ?? ''}`.trim(),
      );

    it('shows name and password to a registry that asks for them, and then at once', async () => {
      const wanted = { 'WWW-Authenticate': 'Basic realm="r"' };
      const server = new FakeServer(refuse(401, '', wanted), ok, ok);
      const client = server.client();
      await client.manifest(REFERENCE, undefined, { signal, auth: ann });
      await client.manifest(REFERENCE, undefined, { signal, auth: ann });
      assert.deepEqual(seen(server), ['r.example', `r.example ${basic}`, `r.example ${basic}`]);
    });

    it('shows them to the token server alone, where there is one', async () => {
      const server = new FakeServer(refuse(401, '', challenge), grant, ok);
      await server.client().manifest(REFERENCE, undefined, { signal, auth: ann });
      const tokens = [`auth.example ${basic}`, 'r.example Bearer secret'];
      assert.deepEqual(seen(server), ['r.example', ...tokens]);
      const url = new URL(server.requests[1]?.url ?? '');
      assert.equal(url.searchParams.get('account'), 'ann');
    });

    it('takes those of the engine where the call has none', async () => {
      const hosts: string[] = [];
      const credentials = (host: string): Promise<typeof ann> => {
        hosts.push(host);
        return Promise.resolve(ann);
      };
      const server = new FakeServer(refuse(401, '', challenge), grant, ok);
      await server.client({ credentials }).manifest(REFERENCE, undefined, { signal });
      assert.deepEqual(hosts, ['r.example']);
      assert.equal(seen(server)[1], `auth.example ${basic}`);
    });

    it('shares no token between users', async () => {
      const denied = refuse(401, '', challenge);
      const server = new FakeServer(denied, grant, ok, denied, grant, ok);
      const client = server.client();
      await client.manifest(REFERENCE, undefined, { signal, auth: ann });
      await client.manifest(REFERENCE, undefined, { signal });
      assert.deepEqual(seen(server).slice(3), [
        'r.example',
        'auth.example',
        'r.example Bearer secret',
      ]);
    });
  });

  it('lets a mirror that is not reachable rest for a minute', async () => {
    const gone = (): never => {
      throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') });
    };
    const server = new FakeServer(gone, ok, ok, ok);
    const client = server.client({ mirrors: { 'r.example': ['https://m.example'] } });
    const asked = async (): Promise<(string | undefined)[]> => {
      server.requests.length = 0;
      await client.manifest(REFERENCE, undefined, { signal });
      return server.requests.map(({ url }) => new URL(url).host);
    };
    assert.deepEqual(await asked(), ['m.example', 'r.example']);
    assert.deepEqual(await asked(), ['r.example']);
    await server.clock.advance(60_000);
    assert.deepEqual(await asked(), ['m.example']);
  });
});
