import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Trap } from './scripted-registry.js';

/** A registry in memory that takes pushes by the letter of the specification. */
export class UploadServer {
  /** "PATCH uploads 100-299", "HEAD blobs", "PUT manifests" */
  readonly requests: string[] = [];
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, Buffer>();
  /** Bytes of blobs that came in. */
  receivedBytes = 0;
  trap: Trap = () => false;
  readonly uploads = new Map<string, Buffer>();
  readonly #server: Server;
  #port = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      const { method = '', url = '', headers } = request;
      const kind = /\/v2\/[^?]*\/(manifests|blobs|uploads)\//.exec(url)?.[1] ?? url;
      const range = headers['content-range'];
      this.requests.push([method, kind, range].filter((s) => s !== undefined).join(' '));
      if (this.trap(request, response)) return;
      void this.#answer(request, response, url);
    });
  }

  static async start(): Promise<UploadServer> {
    const server = new UploadServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    const address = server.#server.address();
    server.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return server;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse, url: string): Promise<void> {
    const path = url.split('?')[0] ?? '';
    const name = path.split('/').at(-1) ?? '';
    if (path.endsWith('/blobs/uploads/')) this.#begin(response, path);
    else if (path.includes('/blobs/uploads/')) await this.#upload(request, response, name);
    else if (path.includes('/manifests/')) {
      const bytes = await readBody(request, () => undefined);
      this.manifests.set(name, bytes);
      response.writeHead(201, { 'Docker-Content-Digest': digestOf(bytes) }).end();
    } else response.writeHead(this.blobs.has(name) ? 200 : 404).end();
  }

  #begin(response: ServerResponse, path: string): void {
    const id = randomUUID();
    this.uploads.set(id, Buffer.alloc(0));
    response.writeHead(202, { Location: path + id, Range: '0-0' }).end();
  }

  async #upload(request: IncomingMessage, response: ServerResponse, id: string): Promise<void> {
    const before = this.uploads.get(id);
    if (before === undefined) {
      response.writeHead(404).end('{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}');
      return;
    }
    const location = { Location: (request.url ?? '').split('?')[0] };
    const range = (bytes: Buffer): string => `0-${Math.max(0, bytes.length - 1)}`;
    if (request.method === 'GET') {
      response.writeHead(204, { ...location, Range: range(before) }).end();
      return;
    }
    const start = Number(/^\d+/.exec(request.headers['content-range'] ?? '')?.[0] ?? before.length);
    if (start !== before.length) {
      response.writeHead(416).end();
      return;
    }
    // what has come stays, also when the line is cut
    const whole = await readBody(request, (part) => {
      this.receivedBytes += part.length;
      this.uploads.set(id, Buffer.concat([this.uploads.get(id) ?? Buffer.alloc(0), part]));
    }).then((rest) => Buffer.concat([before, rest]));
    const digest = new URL(request.url ?? '', 'http://localhost').searchParams.get('digest');
    if (digest === null) response.writeHead(202, { ...location, Range: range(whole) }).end();
    else if (digestOf(whole) !== digest) {
      response.writeHead(400).end('{"errors":[{"code":"DIGEST_INVALID"}]}');
    } else {
      this.blobs.set(digest, whole);
      response.writeHead(201).end();
    }
  }
}

/** A body that is cut short is what came of it. */
async function readBody(request: IncomingMessage, onPart: (part: Buffer) => void): Promise<Buffer> {
  const parts: Buffer[] = [];
  try {
    for await (const part of request) {
      parts.push(part as Buffer);
      onPart(part as Buffer);
    }
  } catch {
    // the line is cut
  }
  return Buffer.concat(parts);
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
