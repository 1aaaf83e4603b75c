import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Containers } from '../../../runtime/engine.js';
import {
  aContainer,
  openContainerRig,
  readOutput,
  runToEnd,
  type ContainerRig,
} from '../../support/container-rig.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

const MAX_LINE_BYTES = 1024 * 1024;

describe('containers on crun: logs', function () {
  let rig: ContainerRig;
  let opened: ContainerRig | undefined;

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'crun');
    requiresCommand(this, 'conmon');
    rig = await openContainerRig();
    opened = rig;
  });

  after(async () => {
    await opened?.close();
  });

  afterEach(async () => {
    for (const { config } of rig.containers.list()) {
      await rig.containers.remove(config.id, { force: true });
    }
  });

  const readRaw = async (containers: Containers, id: string): Promise<Buffer[]> => {
    const lines: Buffer[] = [];
    for await (const { line } of containers.logs(id, { follow: false })) {
      lines.push(Buffer.from(line));
    }
    return lines;
  };

  it('keeps every byte, and gives a long line out in pieces', async () => {
    const { containers } = rig;
    const script = `head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; printf '\\001\\377\\000z\\n'; printf end`;
    await runToEnd(containers, aContainer('bytes', ['sh', '-c', script]));
    const lines = await readRaw(containers, 'bytes');
    const long = lines.slice(0, -2);
    assert.ok(long.length > 1);
    assert.ok(long.every((line) => line.length <= MAX_LINE_BYTES + 64 * 1024));
    assert.deepEqual(Buffer.concat(long), Buffer.alloc(3_000_000, 'x'));
    assert.deepEqual(lines.at(-2), Buffer.from([1, 255, 0, 0x7a]));
    assert.equal(lines.at(-1)?.toString(), 'end');
  });

  it('loses and doubles nothing of a heavy writer that restarts while it is followed', async () => {
    const { containers } = rig;
    // Each run goes on counting where the last one ended, in mid-line.
    const script = [
      'n=$(cat /n 2>/dev/null || echo 0)',
      'seq $((n + 1)) $((n + 20000)); echo $((n + 20000)) > /n',
      'sleep 1.2; printf end; [ $n = 40000 ]',
    ].join('; ');
    const restart = { name: 'on-failure', maximumRetryCount: 9 } as const;
    const log = { maxSizeBytes: 50_000, maxFiles: 1000 };
    await containers.create(aContainer('heavy', ['sh', '-c', script], {}, { restart, log }));
    await containers.start('heavy');
    const lines = await readOutput(containers, 'heavy', { follow: true });
    const expected = Array.from({ length: 60_000 }, (_, i) => `stdout: ${i + 1}`);
    for (const at of [60_000, 40_000, 20_000]) expected.splice(at, 0, 'stdout: end');
    assert.equal(lines.length, expected.length);
    assert.equal(
      lines.findIndex((line, i) => line !== expected[i]),
      -1,
    );
    assert.equal(containers.get('heavy')?.restartCount, 2);
    assert.ok(existsSync(join(rig.stateDir, 'containers/heavy/log/container.log.1')));
    assert.deepEqual(await readOutput(containers, 'heavy', { tail: 20_002 }), lines.slice(-20_002));
  });

  it('goes on following over a restart by hand, and ends with a stop', async () => {
    const { containers } = rig;
    await containers.create(aContainer('hand', ['sh', '-c', 'echo up; exec sleep 1000']));
    await containers.start('hand');
    const seen: string[] = [];
    const following = (async () => {
      for await (const { line } of containers.logs('hand', { follow: true })) {
        seen.push(Buffer.from(line).toString());
      }
    })();
    await eventually(() => assert.equal(seen.length, 1));
    await containers.restart('hand', { graceMs: 0 });
    await eventually(() => assert.equal(seen.length, 2));
    await containers.stop('hand', { graceMs: 0 });
    await following;
    assert.deepEqual(seen, ['up', 'up']);
  });

  it('keeps one file where one is asked for', async () => {
    const { containers } = rig;
    const log = { maxSizeBytes: 10_000, maxFiles: 1 };
    const script = 'seq 1 5000; read x; seq 5001 5100; exec sleep 1000';
    await containers.create(aContainer('one', ['sh', '-c', script], { openStdin: true }, { log }));
    await containers.start('one');
    const folder = join(rig.stateDir, 'containers/one/log');
    await eventually(() => assert.ok(existsSync(join(folder, 'container.log.1'))));
    await eventually(() => assert.deepEqual(readdirSync(folder), ['container.log']));
  });

  it('is not kept where none is asked for, and says so', async () => {
    const { containers } = rig;
    const log = { driver: 'none', maxSizeBytes: 0, maxFiles: 1 } as const;
    await containers.create(aContainer('quiet', ['sh', '-c', 'echo hello; exit 4'], {}, { log }));
    await containers.start('quiet');
    assert.equal((await containers.wait('quiet')).exitCode, 4);
    await assert.rejects(readOutput(containers, 'quiet'), /keeps no logs/);
    assert.deepEqual(readdirSync(join(rig.stateDir, 'containers/quiet/log')), []);
  });
});
