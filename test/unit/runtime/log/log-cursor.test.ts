import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LogCursor } from '../../../../runtime/log/log-cursor.js';
import { rotateLog } from '../../../../runtime/log/log-files.js';
import { readLog } from '../../../../runtime/log/log-reader.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { eventually } from '../../../support/eventually.js';

const T0 = Date.parse('2025-01-02T03:04:00Z');
const line = (n: number): string =>
  `${new Date(T0 + n).toISOString().replace('Z', '000000+00:00')} stdout F ${n}\n`;
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, i) => line(from + i)).join('');
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** What this process has open in a folder. */
function openFilesBelow(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      return []; // the one that listed them
    }
  });
}

describe('container logs', () => {
  let dir: string;
  let log: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ht-runtime-'));
    log = join(dir, 'container.log');
  });

  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  async function readAll(cursor: LogCursor): Promise<number[]> {
    const read: number[] = [];
    for (let next = await cursor.read(); next.length > 0; next = await cursor.read()) {
      read.push(...next.map((l) => Number(Buffer.from(l.line).toString())));
    }
    return read;
  }

  /** As conmon does when told to reopen: the fresh file appears by a rename. */
  function reopen(text = ''): void {
    writeFileSync(`${log}.tmp`, text);
    renameSync(`${log}.tmp`, log);
  }

  const rotate = (maxFiles: number): string =>
    rotateLog(log, { maxSizeBytes: 1, maxFiles, control: join(dir, 'ctl') });

  describe('LogCursor', () => {
    it('reads from file to file, oldest first', async () => {
      writeFileSync(`${log}.2`, lines(1, 3));
      writeFileSync(`${log}.1`, lines(4, 5));
      writeFileSync(log, lines(6, 9));
      await using cursor = new LogCursor(log);
      assert.deepEqual(await readAll(cursor), numbers(1, 9));
    });

    it('leaves no file open when it fails', async () => {
      writeFileSync(`${log}.2`, lines(1, 3));
      mkdirSync(`${log}.1`); // which opens, and cannot be read
      writeFileSync(log, lines(4, 5));
      const query = { follow: false, tail: 2 };
      const source = { log, hasEnded: () => true, onEnd: () => () => undefined };
      await assert.rejects(readLog(source, query, new FakeClock()).next(), { code: 'EISDIR' });
      assert.deepEqual(openFilesBelow(dir), []);
    });

    it('loses and doubles nothing while the log is rotated under it', async () => {
      await using cursor = new LogCursor(log);
      const read: number[] = [];
      let n = 0;
      const write = (file: string): void => {
        appendFileSync(file, line(++n));
      };
      for (let round = 0; round < 20; round++) {
        write(log);
        if (round % 3 === 0) read.push(...(await readAll(cursor)));
        assert.equal(rotate(100), 'rotated');
        write(`${log}.1`); // conmon still has it open
        if (round % 2 === 0) read.push(...(await readAll(cursor)));
        reopen();
        write(log);
      }
      read.push(...(await readAll(cursor)));
      assert.deepEqual(read, numbers(1, n));
    });

    it('misses no file when a rotation comes while it looks for the next', async () => {
      writeFileSync(`${log}.1`, line(1));
      writeFileSync(log, line(2));
      await using cursor = new LogCursor(log);
      let n = 2;
      const state = { isOver: false };
      const rotating = (async () => {
        for (let round = 0; round < 60; round++) {
          rotate(100);
          reopen(line(++n));
          await new Promise((resolve) => setImmediate(resolve));
        }
        state.isOver = true;
      })();
      const read: number[] = [];
      while (!state.isOver) read.push(...(await readAll(cursor)));
      await rotating;
      read.push(...(await readAll(cursor)));
      assert.deepEqual(read, numbers(1, n));
    });

    it('goes on with the oldest that is left when its file was rotated away', async () => {
      writeFileSync(log, lines(1, 2));
      await using cursor = new LogCursor(log);
      assert.deepEqual(await readAll(cursor), [1, 2]);
      for (const from of [3, 5, 7]) {
        rotate(3);
        reopen(lines(from, from + 1));
      }
      assert.deepEqual(await readAll(cursor), numbers(3, 8));
    });

    it('begins within the last bytes, at a whole record', async () => {
      writeFileSync(`${log}.1`, lines(1, 5));
      writeFileSync(log, lines(6, 9));
      const size = line(1).length;
      await using cursor = new LogCursor(log);
      assert.equal(await cursor.seekToLast(size * 5 + 3), false);
      assert.deepEqual(await readAll(cursor), numbers(5, 9));
      await using whole = new LogCursor(log);
      assert.equal(await whole.seekToLast(size * 9), true);
      assert.deepEqual(await readAll(whole), numbers(1, 9));
    });
  });

  describe('rotateLog', () => {
    it('keeps as many files as asked for', () => {
      for (let n = 1; n <= 5; n++) {
        reopen(line(n));
        assert.equal(rotate(3), 'rotated');
        assert.equal(rotate(3), 'missing');
      }
      reopen();
      assert.equal(rotate(3), 'kept', 'an empty log is left alone');
      assert.deepEqual(readdirSync(dir).toSorted(), [
        'container.log',
        'container.log.1',
        'container.log.2',
      ]);
    });
  });

  describe('readLog', () => {
    const clock = new FakeClock(T0 + 1_000_000);

    async function collect(
      query: Parameters<typeof readLog>[1],
      hasEnded = true,
    ): Promise<number[]> {
      const source = { log, hasEnded: () => hasEnded, onEnd: () => () => undefined };
      const read: number[] = [];
      for await (const l of readLog(source, query, clock)) {
        read.push(Number(Buffer.from(l.line).toString()));
      }
      return read;
    }

    beforeEach(() => {
      writeFileSync(`${log}.1`, lines(1, 5));
      writeFileSync(log, lines(6, 9));
    });

    it('filters by time', async () => {
      const query = { follow: false, sinceMs: T0 + 4, untilMs: T0 + 7 };
      assert.deepEqual(await collect(query), numbers(4, 7));
    });

    it('gives the last lines across files', async () => {
      assert.deepEqual(await collect({ follow: false, tail: 6 }), numbers(4, 9));
      assert.deepEqual(await collect({ follow: false, tail: 0 }), []);
      assert.deepEqual(await collect({ follow: false, tail: 100 }), numbers(1, 9));
    });

    it('gives no more than the last lines, whatever is written while they are read', async () => {
      const found: number[] = [];
      const source = { log, hasEnded: () => false, onEnd: () => () => undefined };
      for await (const { line: text } of readLog(source, { follow: false, tail: 3 }, clock)) {
        found.push(Number(Buffer.from(text).toString()));
        appendFileSync(log, lines(10, 100));
      }
      assert.deepEqual(found, numbers(7, 9));
    });

    it('reads more when the last bytes hold too few lines', async () => {
      writeFileSync(log, lines(1, 20_000));
      rmSync(`${log}.1`);
      assert.deepEqual(await collect({ follow: false, tail: 15_000 }), numbers(5001, 20_000));
    });

    it('gives out a last line without an end', async () => {
      appendFileSync(log, line(10).replace(' F ', ' P '));
      assert.deepEqual(await collect({ follow: false }), numbers(1, 10));
      assert.deepEqual(await collect({ follow: false, tail: 2 }), [9, 10]);
    });

    it('follows until the container has ended', async () => {
      let hasEnded = false;
      let tellEnd = (): void => undefined;
      const source = {
        log,
        hasEnded: () => hasEnded,
        onEnd: (listener: () => void) => {
          tellEnd = listener;
          return () => undefined;
        },
      };
      const read: number[] = [];
      const reading = (async () => {
        for await (const l of readLog(source, { follow: true, tail: 1 }, clock)) {
          read.push(Number(Buffer.from(l.line).toString()));
        }
      })();
      await eventually(() => assert.deepEqual(read, [9]));
      appendFileSync(log, line(10));
      await eventually(() => assert.deepEqual(read, [9, 10]));
      appendFileSync(log, line(11));
      hasEnded = true;
      tellEnd();
      await reading;
      assert.deepEqual(read, [9, 10, 11]);
    });

    it('ends quietly when told to', async () => {
      const source = { log, hasEnded: () => false, onEnd: () => () => undefined };
      const stop = new AbortController();
      let count = 0;
      for await (const _ of readLog(source, { follow: true }, clock, stop.signal)) {
        if (++count === 9) stop.abort();
      }
      assert.equal(count, 9);
    });
  });
});
