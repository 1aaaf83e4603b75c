import { parentPort } from 'node:worker_threads';
import { describeError, HatobaError, InvariantError, kindOf } from '../common/errors.js';
import type { CallError, CallRequest, KernelCall, KernelCalls, WorkerMessage } from './protocol.js';

/** What a worker thread answers: some of the calls, and always `close`. */
export type ServedCalls = Partial<KernelCalls> & Pick<KernelCalls, 'close'>;

/**
 * Answers the calls of a WorkerClient on the other side, one at a time and each to its end.
 * @param open makes the handlers; `post` is for messages that are no answers
 */
export function serveCalls(open: (post: (message: WorkerMessage) => void) => ServedCalls): void {
  const port = parentPort;
  if (port === null) throw new InvariantError('this module runs as a worker thread only');
  const post = (message: WorkerMessage): void => {
    port.postMessage(message);
  };
  const handlers = open(post);
  port.on('message', (request: CallRequest) => {
    const { id, call, args } = request;
    try {
      post({ type: 'result', id, value: handlerOf(handlers, call)(...args) });
    } catch (error) {
      post({ type: 'error', id, error: toCallError(error) });
    }
  });
  post({ type: 'ready' });
}

function handlerOf(
  handlers: ServedCalls,
  call: KernelCall,
): (...args: readonly unknown[]) => unknown {
  const handler = handlers[call] as ((...args: readonly unknown[]) => unknown) | undefined;
  if (handler === undefined) throw new InvariantError(`${call} is not answered by this thread`);
  return handler;
}

function toCallError(error: unknown): CallError {
  return {
    kind: kindOf(error),
    message: describeError(error),
    detail: error instanceof HatobaError ? error.detail : {},
  };
}
