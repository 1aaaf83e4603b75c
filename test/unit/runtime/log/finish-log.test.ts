import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { finishLog } from '../../../../runtime/log/finish-log.js';
import { readLog } from '../../../../runtime/log/log-reader.js';
import { FakeClock } from '../../../support/fake-clock.js';

const STAMP = '2025-01-02T03:04:05.000000000+00:00';

interface Written {
  stream: 'stdout' | 'stderr';
  text: string;
  isWhole: boolean;
}

describe('the end of a run in a log', () => {
  let dir: string;
  let log: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ht-runtime-'));
    log = join(dir, 'container.log');
  });
  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  const write = (records: readonly Written[]): void => {
    for (const { stream, text, isWhole } of records) {
      appendFileSync(log, `${STAMP} ${stream} ${isWhole ? 'F' : 'P'} ${text}\n`);
    }
  };
  const read = async (): Promise<string[]> => {
    const source = { log, hasEnded: () => true, onEnd: () => () => undefined };
    const lines: string[] = [];
    for await (const { stream, line } of readLog(source, { follow: false }, new FakeClock())) {
      lines.push(`${stream} ${Buffer.from(line).toString()}`);
    }
    return lines;
  };

  it('keeps the output of two runs apart, whatever they wrote last', async () => {
    const record = fc.record<Written>({
      stream: fc.constantFrom('stdout', 'stderr'),
      text: fc.stringMatching(/^[a-z ]{0,6}$/),
      isWhole: fc.boolean(),
    });
    const run = fc.array(record, { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(run, run, fc.boolean(), async (first, second, isRotated) => {
        rmSync(log, { force: true });
        rmSync(`${log}.1`, { force: true });
        write(first);
        const alone = await read();
        if (isRotated && existsSync(log)) renameSync(log, `${log}.1`);
        await finishLog(log, 0);
        assert.deepEqual((await read()).toSorted(), alone.toSorted());
        write(second);
        const both = await read();
        rmSync(log, { force: true });
        rmSync(`${log}.1`, { force: true });
        write(second);
        assert.deepEqual(both.toSorted(), [...alone, ...(await read())].toSorted());
      }),
      { numRuns: 60 },
    );
  });

  it('ends a record that was torn, so that the next one can be read', async () => {
    write([{ stream: 'stdout', text: 'whole', isWhole: true }]);
    appendFileSync(log, `${STAMP} stdo`);
    await finishLog(log, 0);
    write([{ stream: 'stdout', text: 'next', isWhole: true }]);
    assert.deepEqual(await read(), ['stdout whole', 'stdout next']);
  });

  it('leaves a log alone that ends well, and makes none', async () => {
    await finishLog(log, 0);
    assert.ok(!existsSync(log));
    write([{ stream: 'stdout', text: 'whole', isWhole: true }]);
    const before = readFileSync(log, 'utf8');
    await finishLog(log, 0);
    assert.equal(readFileSync(log, 'utf8'), before);
  });
});
