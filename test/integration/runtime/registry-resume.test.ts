import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { makeImage, type BuiltImage } from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';
import { ScriptedRegistry, hurriedClock } from '../../support/scripted-registry.js';

const MIB = 1024 * 1024;

describe('pulls that are interrupted', () => {
  let registry: ScriptedRegistry;
  let rig: ImageRig;
  let image: BuiltImage;
  let name: string;
  /** The layer as it goes over the line; random, so that it stays as large. */
  let layer: { digest: string; bytes: Buffer };

  before(async function () {
    requiresRoot(this);
    image = await makeImage({ layers: [[{ name: 'f', content: randomBytes(4 * MIB) }]] });
  });

  beforeEach(async () => {
    registry = await ScriptedRegistry.start();
    rig = await ImageRig.open({ clock: hurriedClock });
    name = `${registry.host}/web:1`;
    const [, blob] = registry.hold(image, 'web', '1');
    assert.ok(blob);
    layer = blob;
  });

  afterEach(async () => {
    registry.stop();
    await rig.close();
  });

  const partials = (): string[] => readdirSync(rig.path('partial'));
  const ranges = (): string[] =>
    registry.requests.filter((r) => r.includes(layer.digest)).map((r) => r.split(' ')[2] ?? '');

  /** Sends a mebibyte of the layer from where it was asked, and cuts the line. */
  function cutting(times: number): void {
    let cuts = 0;
    registry.trap = (request, response) => {
      if (request.url?.includes(layer.digest) !== true || cuts === times) return false;
      cuts++;
      const start = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0);
      const size = layer.bytes.length;
      response.writeHead(start > 0 ? 206 : 200, {
        'Content-Length': size - start,
        'Content-Range': `bytes ${start}-${size - 1}/${size}`,
      });
      response.write(layer.bytes.subarray(start, start + MIB), () => {
        // what was written before goes out
        setImmediate(() => response.destroy());
      });
      return true;
    };
  }

  it('go on in the middle, as often as they get on', async () => {
    cutting(4);
    assert.equal((await rig.images.pull(name)).id, image.id);
    assert.equal(ranges().length, 5);
    const starts = ranges().map((range) => Number(/\d+/.exec(range)?.[0] ?? 0));
    assert.deepEqual(
      starts,
      [...starts].sort((a, b) => a - b),
      'each further on',
    );
    assert.ok((starts[4] ?? 0) > MIB, 'and not from the start');
    assert.deepEqual(partials(), []);
  });

  it('go on after a restart of the engine, from the byte where they stopped', async () => {
    const given = new AbortController();
    registry.trap = (request, response) => {
      if (request.url?.includes(layer.digest) !== true) return false;
      response.writeHead(200, { 'Content-Length': layer.bytes.length });
      response.write(layer.bytes.subarray(0, 2 * MIB)); // and then nothing
      return true;
    };
    const pull = rig.images.pull(name, {
      signal: given.signal,
      onProgress: ({ status, currentBytes }) => {
        if (status === 'downloading' && currentBytes >= MIB) given.abort(new Error('no more'));
      },
    });
    await assert.rejects(pull, /no more/);
    await rig.reopen();
    assert.deepEqual(partials(), [layer.digest.slice('sha256:'.length)]);
    const { size } = statSync(rig.path('partial', partials()[0] ?? ''));
    assert.ok(size >= MIB, `${size} bytes are kept`);
    registry.trap = () => false;
    registry.requests.length = registry.sentBytes = 0;
    const seen: number[] = [];
    await rig.images.pull(name, {
      onProgress: ({ status, currentBytes }) => {
        if (status === 'downloading' && currentBytes > 0) seen.push(currentBytes);
      },
    });
    assert.deepEqual(ranges(), [`bytes=${size}-`]);
    assert.equal(registry.sentBytes, layer.bytes.length - size);
    assert.equal(seen[0], size, 'progress counts what is here');
    assert.deepEqual([partials(), readdirSync(rig.path('staging'))], [[], []]);
  });

  function leaveBeginning(bytes: Buffer): void {
    writeFileSync(rig.path('partial', layer.digest.slice('sha256:'.length)), bytes);
  }

  it('begin anew, once, when what was here is wrong', async () => {
    leaveBeginning(Buffer.alloc(MIB, 'x'));
    assert.equal((await rig.images.pull(name)).id, image.id);
    assert.deepEqual(ranges(), [`bytes=${MIB}-`, '']);
    assert.deepEqual(partials(), []);
  });

  it('begin anew when more is here than there can be', async () => {
    leaveBeginning(Buffer.alloc(layer.bytes.length + 1));
    assert.equal((await rig.images.pull(name)).id, image.id);
    assert.deepEqual(ranges(), ['']);
  });

  it('ask for nothing when all is here', async () => {
    leaveBeginning(layer.bytes);
    assert.equal((await rig.images.pull(name)).id, image.id);
    assert.deepEqual(ranges(), []);
  });

  it('leave out what they have when a registry knows no ranges', async () => {
    leaveBeginning(layer.bytes.subarray(0, MIB));
    registry.trap = (request) => {
      delete request.headers.range;
      return false;
    };
    assert.equal((await rig.images.pull(name)).id, image.id);
    assert.equal(registry.sentBytes, layer.bytes.length + image.config.bytes.length);
  });

  for (const lie of ['bytes 0-9/10', 'bytes 5-4/3', 'nonsense', '']) {
    it(`do not believe a Content-Range of "${lie}"`, async () => {
      leaveBeginning(layer.bytes.subarray(0, MIB));
      let lies = 0;
      registry.trap = (request, response) => {
        if (request.headers.range === undefined || lies++ > 0) return false;
        response.writeHead(206, { 'Content-Range': lie }).end(layer.bytes);
        return true;
      };
      assert.equal((await rig.images.pull(name)).id, image.id);
      assert.deepEqual(ranges(), [`bytes=${MIB}-`, `bytes=${MIB}-`]);
    });
  }

  it('give up when nothing gets on, and keep what is here for the next', async () => {
    leaveBeginning(layer.bytes.subarray(0, MIB));
    registry.trap = (request, response) => {
      if (request.headers.range === undefined) return false;
      response.destroy();
      return true;
    };
    await assert.rejects(rig.images.pull(name), {
      kind: 'unavailable',
      message: new RegExp(
        `blob ${layer.digest} not pulled: registry http://${registry.host} not re`,
      ),
    });
    assert.equal(ranges().length, 4);
    assert.equal(statSync(rig.path('partial', partials()[0] ?? '')).size, MIB);
    assert.deepEqual(await rig.images.list(), []);
  });

  it('of one layer at two repositories write it one after the other', async () => {
    registry.hold(image, 'copy', '1');
    const both = [name, `${registry.host}/copy:1`].map((n) => rig.images.pull(n));
    assert.deepEqual(
      (await Promise.all(both)).map((i) => i.id),
      [image.id, image.id],
    );
    assert.equal(ranges().length, 1);
  });

  describe('by way of mirrors', () => {
    let mirror: ScriptedRegistry;
    let mirrored: ImageRig;

    beforeEach(async () => {
      mirror = await ScriptedRegistry.start();
      const gone = await ScriptedRegistry.start();
      gone.stop();
      mirrored = await ImageRig.open({
        clock: hurriedClock,
        registryMirrors: { [registry.host]: [`http://${gone.host}`, `http://${mirror.host}/`] },
      });
    });

    afterEach(async () => {
      mirror.stop();
      await mirrored.close();
    });

    it('ask the registry for nothing that a mirror has', async () => {
      mirror.hold(image, 'web', '1');
      const pulled = await mirrored.images.pull(name);
      assert.deepEqual([pulled.id, pulled.repoTags], [image.id, [name]]);
      assert.deepEqual(registry.requests, []);
    });

    it('fall back to the registry, also in the middle of a layer', async () => {
      mirror.hold(image, 'web', '1');
      mirror.trap = (request, response) => {
        if (request.url?.includes(layer.digest) !== true) return false;
        response.writeHead(200, { 'Content-Length': layer.bytes.length });
        response.write(layer.bytes.subarray(0, MIB), () => setImmediate(() => response.destroy()));
        return true;
      };
      assert.equal((await mirrored.images.pull(name)).id, image.id);
      assert.equal(registry.requests.length, 1);
      assert.match(registry.requests[0] ?? '', /bytes=\d+-$/);
    });

    it('name everybody who was asked when nobody has it', async () => {
      await assert.rejects(mirrored.images.pull(`${registry.host}/web:9`), (error: Error) => {
        assert.match(
          error.message,
          new RegExp(`not found: .*404 NAME_UNKNOWN at http://${registry.host};`),
        );
        assert.match(error.message, new RegExp(`of its mirrors: .*not reachable.*ECONNREFUSED.*`));
        assert.match(error.message, new RegExp(`404 NAME_UNKNOWN at http://${mirror.host}`));
        return true;
      });
    });

    it('show no mirror what is for the registry', async () => {
      mirror.hold(image, 'web', '1');
      const seen: (string | undefined)[] = [];
      mirror.trap = (request, response) => {
        seen.push(request.headers.authorization);
        response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="mirror"' }).end();
        return true;
      };
      const auth = { username: 'ann', password: 'secret', identityToken: '' };
      assert.equal((await mirrored.images.pull(name, { auth })).id, image.id);
      assert.ok(seen.length > 0 && seen.every((header) => header === undefined));
    });
  });
});
