import { appendFileSync, closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import { LogCursor } from './log-cursor.js';

/** Far enough back to find the last record of each stream. */
const TAIL_BYTES = 1024 * 1024;

/**
 * Ends what a run of a container has left open at the end of its log: output without a line end,
 * which would become the beginning of the next run's first line, and a record that a power cut tore.
 */
export async function finishLog(log: string, nowMs: number): Promise<void> {
  const lastByte = readLastByte(log);
  const stamp = new Date(nowMs).toISOString().replace('Z', '000000+00:00');
  const ends = (await openStreams(log)).map((stream) => `${stamp} ${stream} F \n`);
  const text = [lastByte === undefined || lastByte === '\n' ? '' : '\n', ...ends].join('');
  if (text !== '') appendFileSync(log, text);
}

/** The streams whose last record says that its line goes on. */
async function openStreams(log: string): Promise<readonly string[]> {
  await using cursor = new LogCursor(log);
  await cursor.seekToLast(TAIL_BYTES);
  for (let lines = await cursor.read(); lines.length > 0;) lines = await cursor.read();
  return cursor.flush().map((line) => line.stream);
}

/** @returns undefined for a log that is empty or not there */
function readLastByte(log: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(log, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const byte = Buffer.alloc(1);
    return size > 0 && readSync(fd, byte, 0, 1, size - 1) === 1 ? byte.toString() : undefined;
  } finally {
    closeSync(fd);
  }
}
