import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import { systemClock } from '../../../common/adapters/system-clock.js';
import type { Digest } from '../../../runtime/core/digest.js';
import { parseImageReference } from '../../../runtime/core/image-ref.js';
import { RegistryClient } from '../../../runtime/image/registry-client.js';
import { blobOf } from '../../support/image-fixtures.js';
import { seededRandom } from '../../support/seeded-random.js';

describe('the registry client over real connections', () => {
  const servers: Server[] = [];
  const blob = blobOf('content of a layer');
  const never = new AbortController().signal;

  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  async function listen(answer: RequestListener): Promise<string> {
    const server = createServer(answer);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    assert.ok(address !== null && typeof address !== 'string');
    return `127.0.0.1:${address.port}`;
  }

  async function fetchBlob(host: string): Promise<string> {
    const client = new RegistryClient({
      fetch,
      clock: systemClock,
      random: seededRandom(1),
      insecureRegistries: [],
    });
    const digest = blob.digest as Digest;
    const descriptor = { mediaType: '', digest, sizeBytes: blob.bytes.length };
    const reference = parseImageReference(`${host}/team/web:1`);
    const parts: Uint8Array[] = [];
    const content = client.blob(reference, descriptor, 0, { signal: never });
    for await (const part of content) parts.push(part);
    return Buffer.concat(parts).toString();
  }

  it('takes its token to the registry, and not to where that sends it on', async () => {
    const seen: Record<string, (string | undefined)[]> = { registry: [], storage: [] };
    const storage = await listen((request, response) => {
      seen['storage']?.push(request.headers.authorization);
      response.end(blob.bytes);
    });
    const host: string = await listen((request, response) => {
      if (request.url?.startsWith('/token') === true) {
        response.end(JSON.stringify({ token: 'secret' }));
        return;
      }
      const { authorization } = request.headers;
      seen['registry']?.push(authorization);
      if (authorization === undefined) {
        const challenge = `Bearer realm="http://${host}/token",service="x"`;
        response.writeHead(401, { 'www-authenticate': challenge }).end();
      } else {
        response.writeHead(307, { location: `http://${storage}/elsewhere` }).end();
      }
    });
    assert.equal(await fetchBlob(host), 'content of a layer');
    assert.deepEqual(seen, { registry: [undefined, 'Bearer secret'], storage: [undefined] });
  });

  it('begins anew when the connection breaks off in the middle', async () => {
    let requests = 0;
    const host = await listen((_request, response) => {
      requests++;
      response.writeHead(200, { 'content-length': blob.bytes.length });
      if (requests > 1) {
        response.end(blob.bytes);
        return;
      }
      response.write(blob.bytes.subarray(0, 5), () => response.destroy());
    });
    assert.equal(await fetchBlob(host), 'content of a layer');
    assert.equal(requests, 2);
  });

  it('does not follow a registry that sends it round in circles', async () => {
    const host: string = await listen((_request, response) => {
      response.writeHead(307, { location: `http://${host}/again` }).end();
    });
    await assert.rejects(fetchBlob(host), /blob sha256:.* not pulled: .*redirect/);
  });
});
