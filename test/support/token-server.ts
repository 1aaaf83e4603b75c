import { randomUUID, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createTestCa, type TestCa } from './tls-rig.js';
import { REGISTRY_PASSWORD, REGISTRY_USER } from './registry.js';

export const IDENTITY_TOKEN = 'identity-of-ann';
const ISSUER = 'tests';

/** What somebody asked a token for. */
export interface TokenRequest {
  readonly method: string;
  readonly user: string;
  readonly scopes: readonly string[];
}

/**
 * Gives tokens that a real registry takes: to everybody for what is below public/, to REGISTRY_USER,
 * by password or identity token, for all.
 */
export class TokenServer {
  readonly requests: TokenRequest[] = [];
  readonly #server: Server;
  readonly #ca: TestCa;
  readonly #dir: string;
  #port = 0;

  private constructor(ca: TestCa, dir: string) {
    this.#ca = ca;
    this.#dir = dir;
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, body }) => {
        response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
      });
    });
  }

  static async start(): Promise<TokenServer> {
    const ca = await createTestCa();
    const server = new TokenServer(ca, mkdtempSync(join(tmpdir(), 'ht-tokens-')));
    writeFileSync(join(server.#dir, 'root.pem'), ca.root.certificatePem);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    const address = server.#server.address();
    server.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return server;
  }

  /** For TestRegistry.start. */
  get registryAuth(): string {
    const realm = `http://127.0.0.1:${this.#port}/token`;
    const bundle = join(this.#dir, 'root.pem');
    return `{ token: { realm: "${realm}", service: tests, issuer: ${ISSUER}, rootcertbundle: ${bundle} } }`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
    rmSync(this.#dir, { recursive: true });
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: string }> {
    const asked = request.method === 'POST' ? await fromForm(request) : fromQuery(request);
    if (asked === undefined) return { status: 401, body: '{"errors":[{"code":"DENIED"}]}' };
    this.requests.push({ method: request.method ?? '', user: asked.user, scopes: asked.scopes });
    const token = this.#token(asked.user, asked.scopes);
    const refresh = asked.wantsIdentity ? { refresh_token: IDENTITY_TOKEN } : {};
    return { status: 200, body: JSON.stringify({ token, expires_in: 300, ...refresh }) };
  }

  #token(user: string, scopes: readonly string[]): string {
    const nowS = Math.floor(Date.now() / 1000);
    const access = scopes.flatMap((scope) => {
      const [type = '', name = '', actions = ''] = scope.split(':');
      if (user === REGISTRY_USER) return [{ type, name, actions: actions.split(',') }];
      return name.startsWith('public/') ? [{ type, name, actions: ['pull'] }] : [];
    });
    const claims = {
      iss: ISSUER,
      sub: user,
      aud: 'tests',
      exp: nowS + 300,
      nbf: nowS - 10,
      iat: nowS,
      jti: randomUUID(),
      access,
    };
    const der = this.#ca.root.certificatePem.replace(/-----[^-]+-----|\s/g, '');
    const encode = (part: object): string =>
      Buffer.from(JSON.stringify(part)).toString('base64url');
    const signed = `${encode({ typ: 'JWT', alg: 'ES256', x5c: [der] })}.${encode(claims)}`;
    const key = { key: this.#ca.root.keyPem, dsaEncoding: 'ieee-p1363' as const };
    return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  }
}

interface Asked {
  readonly user: string;
  readonly scopes: readonly string[];
  readonly wantsIdentity: boolean;
}

function fromQuery(request: IncomingMessage): Asked | undefined {
  const query = new URL(request.url ?? '', 'http://localhost').searchParams;
  const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const shown = basic === undefined ? '' : Buffer.from(basic, 'base64').toString();
  if (basic !== undefined && shown !== `${REGISTRY_USER}:${REGISTRY_PASSWORD}`) return undefined;
  return {
    user: basic === undefined ? '' : REGISTRY_USER,
    scopes: query.getAll('scope'),
    wantsIdentity: query.get('offline_token') === 'true',
  };
}

async function fromForm(request: IncomingMessage): Promise<Asked | undefined> {
  const form = new URLSearchParams(await text(request));
  const isKnown =
    form.get('grant_type') === 'refresh_token' && form.get('refresh_token') === IDENTITY_TOKEN;
  const scopes = (form.get('scope') ?? '').split(' ').filter((scope) => scope !== '');
  return isKnown ? { user: REGISTRY_USER, scopes, wantsIdentity: false } : undefined;
}
