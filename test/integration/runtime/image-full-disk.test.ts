import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cleanUp } from '../../support/clean-up.js';
import {
  busyboxImage,
  dockerArchive,
  makeImage,
  streamOf,
  type BuiltImage,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { TestRegistry } from '../../support/registry.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

describe('a full disk', () => {
  let web: BuiltImage;
  let disk: string;
  let root: string;
  let isMounted = false;
  let rig: ImageRig | undefined;

  before(async function () {
    requiresRoot(this);
    // a layer of some two megabytes, and a small one above
    web = await busyboxImage({ tag: 'web:1', files: [{ name: 'srv/page', content: 'hello' }] });
  });

  beforeEach(() => {
    disk = mkdtempSync('/var/tmp/ht-full-');
    root = join(disk, 'state');
  });

  afterEach(async () => {
    const opened = rig;
    rig = undefined;
    await cleanUp(
      () => opened?.close(),
      () => isMounted && execFileSync('umount', [disk]),
      () => rmdirSync(disk),
    );
    isMounted = false;
  });

  /** A store on a file system of so many bytes. */
  async function open(sizeKiB: number): Promise<ImageRig> {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKiB}k`, 'none', disk]);
    isMounted = true;
    return (rig = await ImageRig.open({ root }));
  }

  function filesLeft(): string[] {
    const kept = ['blobs/sha256', 'layers', 'staging', 'images', 'partial'];
    return kept.flatMap((dir) => readdirSync(join(root, dir)).map((name) => `${dir}/${name}`));
  }

  const noSpace = { kind: 'resource-exhausted', message: /no space left in \/var\/tmp\/ht-full-/ };

  const sizes = [
    { name: 'while the archive comes', sizeKiB: 1024 },
    { name: 'while a layer is unpacked', sizeKiB: 3072 },
  ];
  for (const { name, sizeKiB } of sizes) {
    it(`ends a load ${name}, and nothing is left of it`, async () => {
      const { images } = await open(sizeKiB);
      await assert.rejects(images.load(streamOf(await dockerArchive(web))), noSpace);
      assert.deepEqual(filesLeft(), []);
    });

    it(`ends an import ${name}, and nothing is left of it`, async () => {
      const { images } = await open(sizeKiB);
      const tar = web.layers[0]?.bytes ?? Buffer.alloc(0);
      await assert.rejects(images.import(streamOf(tar), { reference: 'base:1' }), noSpace);
      assert.deepEqual(filesLeft(), []);
    });

    it(`ends a pull ${name}, and gives back what it took`, async function () {
      requiresCommand(this, 'docker-registry');
      const registry = await TestRegistry.start();
      try {
        const { images } = await open(sizeKiB / 2);
        await registry.push(web, 'web', '1');
        await assert.rejects(images.pull(`${registry.host}/web:1`), noSpace);
        assert.deepEqual(
          filesLeft().filter((file) => !file.endsWith('origins.json')),
          [],
        );
      } finally {
        await registry.stop();
      }
    });
  }

  it('is given back what several downloads have written', async function () {
    requiresCommand(this, 'docker-registry');
    const registry = await TestRegistry.start();
    try {
      const layers = ['a', 'b', 'c'].map((name) => [{ name, content: randomBytes(1_000_000) }]);
      const image = await makeImage({ tags: ['big:1'], layers });
      const { images } = await open(1536); // any of them fits, two do not
      await registry.push(image, 'big', '1');
      await assert.rejects(images.pull(`${registry.host}/big:1`), noSpace);
      assert.deepEqual(filesLeft(), []);
    } finally {
      await registry.stop();
    }
  });

  it('refuses a new name, and leaves the old ones', async () => {
    const { images } = await open(16_384);
    await images.load(streamOf(await dockerArchive(web)));
    const { bavail, bsize } = statfsSync(root);
    writeFileSync(join(root, 'ballast'), Buffer.alloc(bavail * bsize));
    await assert.rejects(images.tag('web:1', 'web:2'), noSpace);
    rmSync(join(root, 'ballast'));
    assert.deepEqual((await images.find('web:1'))?.repoTags, ['web:1']);
    await images.tag('web:1', 'web:2');
    assert.deepEqual((await images.find('web:1'))?.repoTags, ['web:1', 'web:2']);
  });
});
