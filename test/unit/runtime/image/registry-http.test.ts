import assert from 'node:assert/strict';
import { RegistryAuth } from '../../../../runtime/image/registry-auth.js';
import { RegistryHttp } from '../../../../runtime/image/registry-http.js';
import { RegistryTransport } from '../../../../runtime/image/registry-transport.js';
import { FakeClock } from '../../../support/fake-clock.js';

const BASIC = `Basic ${Buffer.from('ann:right').toString('base64')}`;

/** A registry that wants ann's password, and answers when all of `together` have asked. */
function openRegistry(together: number): { http: RegistryHttp; asked: () => number } {
  const clock = new FakeClock();
  let asked = 0;
  let openGate = (): void => undefined;
  const gate = new Promise<void>((resolve) => (openGate = resolve));
  const answer = async (_url: unknown, init?: RequestInit): Promise<Response> => {
    if (++asked === together) openGate();
    await gate;
    const shown = new Headers(init?.headers).get('authorization');
    if (shown === BASIC) return new Response(null, { status: 200 });
    return new Response('{}', {
      status: 401,
      headers: { 'www-authenticate': 'Basic realm="registry"' },
    });
  };
  const transport = new RegistryTransport({ fetch: answer, clock });
  const auth = new RegistryAuth({ transport, clock, insecureRegistries: [] });
  return { http: new RegistryHttp({ transport, auth, clock }), asked: () => asked };
}

async function ask(http: RegistryHttp, password: string): Promise<number> {
  const access = {
    endpoint: { baseUrl: 'https://reg.example', host: 'reg.example', isMirror: false },
    credentials: { username: 'ann', password, identityToken: '' },
    scopes: ['repository:web:pull,push'],
  };
  const purpose = { subject: 'image "web"', deed: 'pushed' } as const;
  const { signal } = new AbortController();
  const answer = await http.send(access, { method: 'HEAD', path: 'web/blobs/x' }, purpose, signal);
  await answer.close();
  return answer.status;
}

describe('RegistryHttp with a name and a password', () => {
  it('shows them for each of several first requests at once', async () => {
    const { http } = openRegistry(3);
    const statuses = await Promise.all([1, 2, 3].map(() => ask(http, 'right')));
    assert.deepEqual(statuses, [200, 200, 200]);
  });

  it('shows them unasked later on, and wrong ones once for each request', async () => {
    const { http, asked } = openRegistry(1);
    await ask(http, 'right');
    await ask(http, 'right');
    assert.equal(asked(), 3);
    await assert.rejects(ask(http, 'wrong'), /credentials for reg\.example are wrong/);
    assert.equal(asked(), 5);
  });
});
