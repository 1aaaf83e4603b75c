import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { readdirSync } from 'node:fs';
import { makeImage, ociArchive, streamOf, type BuiltImage } from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';
import { hurriedClock } from '../../support/scripted-registry.js';
import { UploadServer } from '../../support/upload-server.js';

const MIB = 1024 * 1024;
const ANN = { username: 'ann', password: 'secret', identityToken: '' };

describe('pushes that do not go smoothly', () => {
  let server: UploadServer;
  let rig: ImageRig;
  let image: BuiltImage;
  let name: string;

  before(async function () {
    requiresRoot(this);
    image = await makeImage({ layers: [[{ name: 'f', content: randomBytes(4 * MIB) }]] });
  });

  beforeEach(async () => {
    server = await UploadServer.start();
    rig = await ImageRig.open({ clock: hurriedClock });
    name = `${server.host}/web:1`;
    const [loaded] = await rig.images.load(streamOf(await ociArchive([image])));
    await rig.images.tag(loaded?.id ?? '', name);
  });

  afterEach(async () => {
    server.stop();
    await rig.close();
  });

  const of = (...kinds: string[]): string[] =>
    server.requests.filter((request) => kinds.some((kind) => request.startsWith(kind)));

  /** Whether a request is the layer on its way; the configuration is small. */
  const isLayer = (request: IncomingMessage): boolean =>
    request.method === 'PATCH' && Number(request.headers['content-length']) > MIB;

  async function assertPushed(): Promise<void> {
    const { digest } = await rig.images.push(name);
    const manifest = server.manifests.get('1');
    assert.ok(manifest);
    assert.equal(server.blobs.size, 2);
    assert.equal((await rig.images.find(name))?.repoDigests[0], `${server.host}/web@${digest}`);
    assert.deepEqual(readdirSync(rig.path('staging')), []);
  }

  it('sends the manifest last', async () => {
    await assertPushed();
    assert.deepEqual(of('PUT'), ['PUT uploads', 'PUT uploads', 'PUT manifests']);
  });

  it('go on where the registry says, when the line is cut', async () => {
    let cuts = 0;
    server.trap = (request) => {
      if (!isLayer(request) || cuts === 2) return false;
      cuts++;
      let bytes = 0;
      request.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > MIB) request.destroy();
      });
      return false;
    };
    await assertPushed();
    assert.equal(cuts, 2);
    assert.equal(of('GET uploads').length, 2);
    const blobs = [...server.blobs.values()].reduce((sum, blob) => sum + blob.length, 0);
    assert.equal(server.receivedBytes, blobs, 'no byte twice');
  });

  it('begin anew when the registry has forgotten the upload', async () => {
    let forgot = false;
    server.trap = (request) => {
      if (!isLayer(request) || forgot) return false;
      forgot = true;
      server.uploads.clear();
      return false;
    };
    await assertPushed();
    assert.equal(of('POST').length, 3);
  });

  it('begin anew when other bytes have come than went', async () => {
    let damaged = false;
    server.trap = (request) => {
      if (request.method !== 'PUT' || request.url?.includes('digest') !== true || damaged)
        return false;
      damaged = true;
      for (const [id, bytes] of server.uploads) server.uploads.set(id, Buffer.alloc(bytes.length));
      return false;
    };
    await assertPushed();
    assert.equal(of('POST').length, 3);
  });

  it('try again what may pass, and tell what does not', async () => {
    let refusals = 0;
    server.trap = (request, response) => {
      if (request.method !== 'POST' || refusals++ > 0) return false;
      response.writeHead(503).end();
      return true;
    };
    await assertPushed();
    server.blobs.clear();
    server.trap = (request, response) => {
      if (request.method !== 'POST') return false;
      response.writeHead(403).end('{"errors":[{"code":"DENIED","message":"read only"}]}');
      return true;
    };
    await assert.rejects(rig.images.push(name), {
      kind: 'permission-denied',
      message: new RegExp(
        `blob sha256:\\w+ refused: .*403 DENIED \\(read only\\) at http://${server.host}`,
      ),
    });
  });

  it('do not take the word of a registry that took another manifest', async () => {
    server.trap = (request, response) => {
      if (request.url?.includes('/manifests/') !== true) return false;
      response.writeHead(201, { 'Docker-Content-Digest': `sha256:${'0'.repeat(64)}` }).end();
      return true;
    };
    await assert.rejects(rig.images.push(name), {
      kind: 'unavailable',
      message: /manifest sha256:\w+ is sha256:0{64} at the registry/,
    });
  });

  it('show nobody else the credentials, though uploads go there', async () => {
    const storage = await UploadServer.start();
    const shown: (string | undefined)[] = [];
    storage.trap = (request) => {
      shown.push(request.headers.authorization);
      return false;
    };
    server.trap = (request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
        return true;
      }
      if (request.method !== 'POST') return false;
      const url = `http://${storage.host}${request.url ?? ''}`;
      void fetch(url, { method: 'POST' }).then((begun) => {
        const location = new URL(begun.headers.get('location') ?? '', url).href;
        response.writeHead(202, { location }).end();
      });
      return true;
    };
    await rig.images.push(name, { auth: ANN });
    assert.equal(storage.blobs.size, 2);
    assert.ok(shown.length >= 6 && shown.every((header) => header === undefined));
    storage.stop();
  });

  for (const location of ['', 'ftp://x/', 'http://']) {
    it(`go nowhere when the registry sends them to "${location}"`, async () => {
      server.trap = (request, response) => {
        if (request.method !== 'POST') return false;
        response.writeHead(202, { location }).end();
        return true;
      };
      await assert.rejects(rig.images.push(name), {
        kind: 'failed-precondition',
        message: /sends the upload to ".*", which is no safe address/,
      });
    });
  }

  it('end when their caller gives up, also in the middle of a layer', async () => {
    const given = new AbortController();
    server.trap = (request) => {
      if (!isLayer(request)) return false;
      request.pause();
      return true; // takes what fits into the line, and no more
    };
    const push = rig.images.push(name, {
      signal: given.signal,
      onProgress: ({ status }) => {
        if (status === 'pushing') given.abort(new Error('no more'));
      },
    });
    await assert.rejects(push, /no more/);
  });

  it('of layers the registry cannot mount are sent', async () => {
    await rig.images.push(name);
    const copy = `${server.host}/copy:1`;
    await rig.images.tag(name, copy);
    server.blobs.clear();
    server.requests.length = 0;
    server.trap = (request, response) => {
      if (request.url?.includes('mount=') !== true) return false;
      response.writeHead(500).end();
      return true;
    };
    await rig.images.push(copy);
    assert.equal(server.blobs.size, 2);
    assert.equal(of('PATCH').length, 2);
  });
});
