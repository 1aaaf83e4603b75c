import { Metadata } from '@grpc/grpc-js';
import { HatobaError } from '../../common/errors.js';
import type { ExecInput, ExecOutput } from '../../proto/gen/hatoba/v1/agent.js';
import { readStream, sendAll } from '../../proto/wire/client.js';
import type { View } from '../view/view.js';
import type { AgentConnections } from './agents.js';

/**
 * Passes a command through to the agent of the task's node and its output back. Either side's pace
 * is the other's. The task is named in the first message, as users name tasks.
 */
export async function* relayExec(
  modules: { view: View; agents: AgentConnections },
  input: AsyncIterable<ExecInput>,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput, void, undefined> {
  const messages = input[Symbol.asyncIterator]();
  const first = await messages.next();
  const start = first.done === true ? undefined : first.value.input;
  if (start?.$case !== 'start') {
    throw new HatobaError('invalid-argument', 'the first message must say what to run');
  }
  const task = modules.view.findByPrefix('task', start.value.taskId);
  if (task.nodeId === '') {
    throw new HatobaError('failed-precondition', `task ${task.id} is on no node yet`);
  }
  const call = modules.agents.of(task.nodeId).taskExec(new Metadata());
  const value = { ...start.value, taskId: task.id };
  const forwarding = sendAll(
    call,
    following({ input: { $case: 'start', value } }, messages),
    signal,
  );
  // The caller's stream breaking ends the command; its own error reaches the caller anyway.
  forwarding.catch(() => call.cancel());
  yield* readStream(call, signal);
}

async function* following<T>(first: T, rest: AsyncIterator<T>): AsyncGenerator<T, void, undefined> {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    yield next.value;
  }
}
