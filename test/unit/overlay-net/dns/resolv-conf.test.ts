import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../common/logger.js';
import { hostResolvers } from '../../../../overlay-net/dns/resolv-conf.js';
import { FakeClock } from '../../../support/fake-clock.js';

describe('resolvers of the host', () => {
  let folder: string;
  let file: string;
  let warnings: string[];
  let clock: FakeClock;
  let resolvers: () => readonly string[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ht-resolv-'));
    file = join(folder, 'resolv.conf');
    warnings = [];
    clock = new FakeClock();
    const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    resolvers = hostResolvers(file, { clock, logger });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('are looked up again after five seconds', async () => {
    writeFileSync(file, 'nameserver 192.0.2.1\n');
    assert.deepEqual(resolvers(), ['192.0.2.1']);
    writeFileSync(file, 'nameserver 192.0.2.2\nnameserver 127.0.0.53\n');
    await clock.advance(5000);
    assert.deepEqual(resolvers(), ['192.0.2.1']);
    await clock.advance(1);
    assert.deepEqual(resolvers(), ['192.0.2.2', '127.0.0.53']);
    assert.deepEqual(warnings, []);
  });

  it('are missed once, with or without a file, and again when they had come back', async () => {
    const lookLater = async (): Promise<readonly string[]> => {
      await clock.advance(6000);
      return resolvers();
    };
    assert.deepEqual(resolvers(), []);
    writeFileSync(file, '# nothing\n');
    assert.deepEqual(await lookLater(), []);
    assert.equal(warnings.length, 1);
    writeFileSync(file, 'nameserver 192.0.2.1\n');
    assert.deepEqual(await lookLater(), ['192.0.2.1']);
    writeFileSync(file, '');
    assert.deepEqual(await lookLater(), []);
    assert.equal(warnings.length, 2);
  });
});
