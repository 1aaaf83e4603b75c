import type { ClientDuplexStream } from '@grpc/grpc-js';
import { errnoOf } from '../common/errors.js';
import type { ExecInput, ExecOutput } from '../proto/gen/hatoba/v1/agent.js';
import { readStream } from '../proto/wire/client.js';
import { writeMessage } from '../proto/wire/stream.js';
import { ExitCodeError } from './failure.js';
import type { Session } from './session.js';

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
 * Runs a command in a task's container with this process's stdio, and the terminal in raw mode
 * while it does.
 * @throws {ExitCodeError} when the command ended with another code than 0
 */
export async function execTask(session: Session, request: ExecRequest): Promise<void> {
  const call = session.control.taskExec();
  const output = readStream<ExecOutput>(call, session.signal);
  call.write(startMessage(request));
  const isTerminal = request.tty && process.stdin.isTTY;
  if (isTerminal) process.stdin.setRawMode(true);
  const onResize = (): void => {
    call.write({ input: { $case: 'resize', value: terminalSize() } });
  };
  if (request.tty) process.stdout.on('resize', onResize);
  if (request.interactive) void sendStdin(call);
  let exitCode = 0;
  try {
    for await (const message of output) exitCode = (await onOutput(message)) ?? exitCode;
  } finally {
    process.stdout.off('resize', onResize);
    if (isTerminal) process.stdin.setRawMode(false);
    // a terminal or pipe that was read from would keep this process alive
    if (request.interactive) process.stdin.destroy();
  }
  if (exitCode !== 0) throw new ExitCodeError(exitCode);
}

function startMessage(request: ExecRequest): ExecInput {
  const { task, command, env, user, workdir: dir, tty, interactive: stdin } = request;
  const size = tty ? terminalSize() : undefined;
  return {
    input: {
      $case: 'start',
      value: { taskId: task, command: [...command], env: [...env], user, dir, tty, stdin, size },
    },
  };
}

function terminalSize(): { rows: number; columns: number } {
  return { rows: process.stdout.rows, columns: process.stdout.columns };
}

/** Ends quietly with the call: what it was for is over then. */
async function sendStdin(call: ClientDuplexStream<ExecInput, ExecOutput>): Promise<void> {
  try {
    for await (const chunk of process.stdin) {
      const value = chunk as Buffer;
      if (!(await writeMessage(call, { input: { $case: 'stdin', value } }))) return;
    }
  } catch (error) {
    // closed by execTask itself, which waits no longer
    if (errnoOf(error) !== 'ERR_STREAM_PREMATURE_CLOSE') call.destroy(toError(error));
    return;
  }
  await writeMessage(call, { input: { $case: 'closeStdin', value: true } });
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** @returns the exit code, in the last message */
async function onOutput({ output }: ExecOutput): Promise<number | undefined> {
  if (output?.$case === 'exitCode') return output.value;
  if (output !== undefined) {
    const target = output.$case === 'stdout' ? process.stdout : process.stderr;
    if (!target.write(output.value)) await new Promise((resolve) => target.once('drain', resolve));
  }
  return undefined;
}
