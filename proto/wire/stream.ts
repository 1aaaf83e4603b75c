/** A stream's writing side: of a gRPC call on either side, or any of Node's. */
export interface MessageSink<T> {
  write(message: T): boolean;
  once(event: 'drain' | 'close' | 'error' | 'finish' | 'cancelled', listener: () => void): unknown;
  removeListener(event: string, listener: () => void): unknown;
  readonly destroyed: boolean;
  readonly writableEnded: boolean;
}

/**
 * Writes one message and waits while the receiver is behind (HTTP/2 flow control).
 * @returns false when the stream has ended, so that nothing more need be written
 */
export async function writeMessage<T>(
  sink: MessageSink<T>,
  message: T,
  signal?: AbortSignal,
): Promise<boolean> {
  if (isOver(sink, signal)) return false;
  if (!sink.write(message)) await drained(sink, signal);
  return !isOver(sink, signal);
}

function isOver<T>(sink: MessageSink<T>, signal: AbortSignal | undefined): boolean {
  return sink.destroyed || sink.writableEnded || signal?.aborted === true;
}

const END_EVENTS = ['drain', 'close', 'error', 'finish', 'cancelled'] as const;

function drained<T>(sink: MessageSink<T>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of END_EVENTS) sink.removeListener(event, done);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    for (const event of END_EVENTS) sink.once(event, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}
