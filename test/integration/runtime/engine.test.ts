import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { silentLogger } from '../../../common/logger.js';
import { openKernel } from '../../../linux/kernel.js';
import type { Kernel } from '../../../linux/ports.js';
import { detectCgroups } from '../../../runtime/cgroup/cgroup-fs.js';
import type { Engine } from '../../../runtime/engine.js';
import { openEngine } from '../../../runtime/open-engine.js';
import { aContainer, readOutput, runToEnd } from '../../support/container-rig.js';
import { cleanUp } from '../../support/clean-up.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

describe('the engine as a whole', function () {
  let root: string | undefined;
  let kernel: Kernel | undefined;
  let engine: Engine | undefined;
  const cgroupParent = `/hatoba-test-runtime-${process.pid}-engine`;

  before(function () {
    requiresRoot(this);
    requiresCommand(this, 'crun');
    requiresCommand(this, 'conmon');
  });

  afterEach(async () => {
    await cleanUp(
      async () => {
        for (const { config } of engine?.containers.list() ?? []) {
          await engine?.containers.remove(config.id, { force: true });
        }
      },
      () => engine?.[Symbol.asyncDispose](),
      () => kernel?.[Symbol.asyncDispose](),
      () => root !== undefined && assertNothingLeft(root),
      () => rmSync(root ?? '', { recursive: true, force: true }),
    );
  });

  function assertNothingLeft(folder: string): void {
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(folder), 'a mount was left');
    const cgroups = detectCgroups().roots.map((top) => top + cgroupParent);
    assert.deepEqual(cgroups.filter(existsSync), [], 'a cgroup was left');
  }

  async function open(folder: string, on: Kernel): Promise<Engine> {
    return openEngine(
      {
        stateDir: join(folder, 'state'),
        runDir: join(folder, 'run'),
        cgroupParent,
        insecureRegistries: [],
      },
      { kernel: on, clock: systemClock, random: systemRandom, logger: silentLogger },
    );
  }

  async function* stream(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    await Promise.resolve();
    yield bytes;
  }

  it('loads an image, runs it, and finds both again', async () => {
    root = mkdtempSync('/var/tmp/ht-engine-');
    kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    engine = await open(root, kernel);
    const image = await busyboxImage({
      tag: 'hello:1',
      config: {
        Entrypoint: ['/bin/sh', '-c'],
        Cmd: ['echo "$GREETING from $PWD"'],
        Env: ['GREETING=hi'],
        WorkingDir: '/home/app',
      },
    });
    const [loaded] = await engine.images.load(stream(await dockerArchive(image)));
    assert.equal(loaded?.id, image.id);

    const run = await runToEnd(engine.containers, aContainer('hello', [], { image: 'hello:1' }));
    assert.equal(run.exitCode, 0);
    assert.deepEqual(run.output, ['stdout: hi from /home/app']);

    await engine[Symbol.asyncDispose]();
    engine = await open(root, kernel);
    assert.equal((await engine.images.find('hello:1'))?.id, image.id);
    assert.equal(engine.containers.get('hello')?.exitCode, 0);
    assert.deepEqual(await readOutput(engine.containers, 'hello'), run.output);
  });

  it('names an image that is not there', async () => {
    root = mkdtempSync('/var/tmp/ht-engine-');
    kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    engine = await open(root, kernel);
    await assert.rejects(engine.containers.create(aContainer('x', [], { image: 'no/such:1' })), {
      kind: 'not-found',
      message: /no\/such:1/,
    });
  });
});
