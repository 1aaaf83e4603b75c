import type { ExecInput, ExecOutput } from '../../proto/gen/hatoba/v1/agent.js';
import type { LocalEngine } from '../executor/local-engine.js';
import { execProcess } from './exec-process.js';
import { readStart } from './process-stream.js';

/** One command in a task's container: the first message says which, the others are its input. */
export async function* execInTask(
  containers: Pick<LocalEngine['containers'], 'exec'>,
  messages: AsyncIterable<ExecInput>,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput, void, undefined> {
  const inputs = messages[Symbol.asyncIterator]();
  const start = await readStart(inputs);
  yield* execProcess(containers, start.taskId, start, inputs, signal);
}
