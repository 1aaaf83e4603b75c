import { ExitCodeError } from './failure.js';
import type { Session } from './session.js';
import { passStreams } from './terminal/pass-streams.js';
import { windowSize } from './terminal/window-size.js';

export interface ExecRequest {
  task: string;
  command: readonly string[];
  interactive: boolean;
  tty: boolean;
  env: readonly string[];
  user: string;
  workdir: string;
}

/**
 * Runs a command in a task's container with this process's terminal or pipes.
 * @throws {ExitCodeError} when the command ended with another code than 0
 */
export async function execTask(session: Session, request: ExecRequest): Promise<void> {
  const { task: taskId, command, env, user, workdir: dir, tty, interactive: stdin } = request;
  const call = session.control.taskExec();
  const size = tty ? windowSize() : undefined;
  const value = { taskId, command: [...command], env: [...env], user, dir, tty, stdin, size };
  call.write({ input: { $case: 'start', value } });
  const result = await passStreams(call, { stdin, tty, signal: session.signal });
  if (result.kind === 'exited' && result.exitCode !== 0) throw new ExitCodeError(result.exitCode);
}
