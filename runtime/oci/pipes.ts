import { Socket } from 'node:net';
import type { Clock } from '../../common/clock.js';

/**
 * The parent's end of a pipe as a stream, which owns the descriptor. Not fs streams: libuv polls a
 * socket, but blocks a thread of its pool for each pipe that fs reads.
 */
export function openReadPipe(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false });
}

/** As openReadPipe, for the end that is written to. */
export function openWritePipe(fd: number): Socket {
  return new Socket({ fd, readable: false, writable: true });
}

/**
 * Reads a pipe to its end, keeping the first `maxBytes`.
 * @param isComplete ends the reading early, given all text so far
 */
export function readPipe(
  pipe: Socket,
  maxBytes: number,
  isComplete: (text: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    const finish = (): void => {
      pipe.destroy();
      resolve(Buffer.concat(parts).toString('utf8'));
    };
    pipe.on('data', (part: Buffer) => {
      if (bytes < maxBytes) parts.push(part.subarray(0, maxBytes - bytes));
      bytes += part.length;
      if (isComplete(Buffer.concat(parts).toString('utf8'))) finish();
    });
    pipe.on('end', finish);
    pipe.on('error', finish);
    pipe.on('close', finish);
  });
}

/**
 * The value of `work`, or `otherwise` after `timeoutMs`; `onTimeout` should make the work end.
 */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  work: Promise<T>,
  onTimeout: () => void,
): Promise<{ value: T } | 'timeout'> {
  let cancel = (): void => undefined;
  const deadline = new Promise<'timeout'>((resolve) => {
    cancel = clock.setTimer(timeoutMs, () => {
      onTimeout();
      resolve('timeout');
    });
  });
  try {
    return await Promise.race([work.then((value) => ({ value })), deadline]);
  } finally {
    cancel();
  }
}
