import { watch } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.js';
import type { LogLine } from '../engine.js';
import { LogCursor } from './log-cursor.js';

export interface LogQuery {
  follow: boolean;
  sinceMs?: number;
  untilMs?: number;
  tail?: number;
}

export interface LogSource {
  /** Path of the youngest log file. */
  log: string;
  /** Whether nothing will be written any more. */
  hasEnded: () => boolean;
  /** Calls back once it has; returns a function that ends the wait. */
  onEnd: (listener: () => void) => () => void;
}

/** Enough for some thousand short lines; grows by four while a tail needs more. */
const FIRST_TAIL_BYTES = 256 * 1024;
/** Bounds how long a lost notification can hide a line. */
const POLL_MS = 1000;

/**
 * The lines of a log that a query asks for, in the order they were written. With `follow`, ends when
 * the container has exited and all is read, when `untilMs` is over, or quietly by the signal.
 */
export async function* readLog(
  source: LogSource,
  query: LogQuery,
  clock: Clock,
  signal?: AbortSignal,
): AsyncGenerator<LogLine> {
  const { follow, sinceMs = -Infinity, untilMs = Infinity } = query;
  const isWanted = (line: LogLine): boolean =>
    line.timestampMs >= sinceMs && line.timestampMs <= untilMs;
  // Before the first look at the log, so that no change after it goes unheard.
  using alarm = follow ? new Alarm(source, clock, untilMs, signal) : undefined;
  const { cursor, lines, isAll } = await openCursor(source.log, query, isWanted);
  await using _closed = cursor;
  yield* lines;
  // What is written meanwhile is not of the last lines that were asked for.
  if (isAll) return;
  for (;;) {
    // Asked before reading: what was written before the end is then surely read.
    const isLast = !follow || source.hasEnded() || clock.nowMs() > untilMs;
    yield* readToEnd(cursor, isWanted, signal);
    if (signal?.aborted === true) return;
    if (isLast) break;
    await alarm?.next();
  }
  yield* cursor.flush().filter(isWanted);
}

async function* readToEnd(
  cursor: LogCursor,
  isWanted: (line: LogLine) => boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<LogLine> {
  for (;;) {
    const lines = await cursor.read();
    if (lines.length === 0 || signal?.aborted === true) return;
    yield* lines.filter(isWanted);
  }
}

interface OpenedLog {
  cursor: LogCursor;
  /** The tail, if one was asked for. */
  lines: readonly LogLine[];
  /** Whether the tail is all that was asked for. */
  isAll: boolean;
}

async function openCursor(
  log: string,
  query: LogQuery,
  isWanted: (line: LogLine) => boolean,
): Promise<OpenedLog> {
  const { tail, follow } = query;
  if (tail === undefined || tail < 0) {
    return { cursor: new LogCursor(log), lines: [], isAll: false };
  }
  for (let bytes = FIRST_TAIL_BYTES; ; bytes *= 4) {
    const cursor = new LogCursor(log);
    const found = await readTail(cursor, bytes, query, isWanted).catch(async (error: unknown) => {
      await cursor[Symbol.asyncDispose]();
      throw error;
    });
    if (found !== undefined) return { cursor, lines: found, isAll: !follow };
    await cursor[Symbol.asyncDispose]();
  }
}

/** @returns undefined when the last `bytes` of the log do not have as many lines */
async function readTail(
  cursor: LogCursor,
  bytes: number,
  { tail = 0, follow }: LogQuery,
  isWanted: (line: LogLine) => boolean,
): Promise<readonly LogLine[] | undefined> {
  const isWhole = await cursor.seekToLast(bytes);
  // Two more than asked: the first line of each stream may be cut.
  const { last, count } = await readLast(cursor, tail + 2, isWanted);
  if (!isWhole && count < tail + 2) return undefined;
  // Output without a line end is a line of its own, if nobody waits for the rest of it.
  if (!follow) last.push(...cursor.flush().filter(isWanted));
  return tail === 0 ? [] : last.slice(-tail);
}

async function readLast(
  cursor: LogCursor,
  keep: number,
  isWanted: (line: LogLine) => boolean,
): Promise<{ last: LogLine[]; count: number }> {
  let last: LogLine[] = [];
  let count = 0;
  for (let lines = await cursor.read(); lines.length > 0; lines = await cursor.read()) {
    const wanted = lines.filter(isWanted);
    count += wanted.length;
    last.push(...wanted);
    // now and then: a large tail would be copied for every few lines
    if (last.length > 2 * keep) last = last.slice(-keep);
  }
  return { last: last.slice(-keep), count };
}

/** Wakes a follower: the log changed, the container ended, the time is over, or it was told to stop. */
class Alarm implements Disposable {
  readonly #ends: (() => void)[] = [];
  readonly #clock: Clock;
  #hasRung = false;
  #wake: () => void = () => undefined;

  constructor(source: LogSource, clock: Clock, untilMs: number, signal?: AbortSignal) {
    this.#clock = clock;
    const ring = (): void => {
      this.#hasRung = true;
      this.#wake();
    };
    const watcher = watch(dirname(source.log), ring);
    // The folder goes with the container; the end of it rings by itself.
    watcher.on('error', ring);
    this.#ends.push(() => watcher.close());
    this.#ends.push(source.onEnd(ring));
    signal?.addEventListener('abort', ring);
    this.#ends.push(() => signal?.removeEventListener('abort', ring));
    if (Number.isFinite(untilMs)) {
      this.#ends.push(clock.setTimer(Math.max(0, untilMs - clock.nowMs()) + 1, ring));
    }
  }

  /** Resolves at the next ring, at once if one came since the last call. */
  async next(): Promise<void> {
    if (!this.#hasRung) {
      let cancel = (): void => undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        cancel = this.#clock.setTimer(POLL_MS, resolve);
      });
      cancel();
    }
    this.#hasRung = false;
  }

  [Symbol.dispose](): void {
    for (const end of this.#ends) end();
  }
}
