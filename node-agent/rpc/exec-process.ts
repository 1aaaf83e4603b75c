import { HatobaError } from '../../common/errors.js';
import type { ExecOutput, TerminalSize } from '../../proto/gen/hatoba/v1/agent.js';
import type { ExecOptions, ExecSession, LocalEngine } from '../executor/local-engine.js';
import { outputOf, whenLeft, type ClientMessage } from './process-stream.js';

/** What both kinds of exec have in common, and what only one of them has. */
type ExecRequest = Pick<ExecOptions, 'command' | 'env' | 'user' | 'dir' | 'tty' | 'stdin'> &
  Pick<ExecOptions, 'privileged' | 'detach'> & { size: TerminalSize | undefined };

/**
 * A command in a container, its client's messages as input. The output is produced at the pace of
 * its reader; the last message is the exit code.
 * 1. The command is killed when its client goes away, unless that has said that it leaves it.
 * 2. A detached one answers 0 as soon as it was started.
 * @throws {HatobaError} invalid-argument; failed-precondition when the container does not run
 */
export async function* execProcess(
  containers: Pick<LocalEngine['containers'], 'exec'>,
  container: string,
  request: ExecRequest,
  inputs: AsyncIterator<ClientMessage<unknown>>,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput, void, undefined> {
  const session = await containers.exec(container, toOptions(request));
  if (request.detach === true) {
    yield { output: { $case: 'exitCode', value: 0 } };
    return;
  }
  let isOver = false;
  const kill = (): void => {
    if (!isOver) session.kill().catch(() => undefined); // it may have ended by itself just now
  };
  signal.addEventListener('abort', kill, { once: true });
  try {
    if (signal.aborted) return;
    const left = whenLeft(inputs, session, { onFailure: kill });
    yield* until(outputOf(session), left);
    const exitCode = await Promise.race([session.exitCode, left]);
    isOver = true;
    if (exitCode === undefined) leave(session);
    else yield { output: { $case: 'exitCode', value: exitCode } };
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}

function toOptions(request: ExecRequest): ExecOptions {
  const { command, env, user, dir, tty, stdin, size, privileged, detach } = request;
  if (command.length === 0) throw new HatobaError('invalid-argument', 'an exec needs a command');
  return {
    ...{ command, env, user, dir, tty, stdin },
    ...(size !== undefined && { size }),
    ...(privileged === true && { privileged }),
    ...(detach === true && { detach }),
  };
}

/** Nobody reads it any more, and it shall not wait for anybody. */
function leave(session: ExecSession): void {
  session.stdout.resume();
  session.stderr.resume();
}

/** The items of `source` before `end`; a read that is under way then is given up. */
async function* until<T>(
  source: AsyncIterable<T>,
  end: Promise<undefined>,
): AsyncGenerator<T, void, undefined> {
  const iterator = source[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([iterator.next(), end]);
    if (next === undefined || next.done === true) return;
    yield next.value;
  }
}
