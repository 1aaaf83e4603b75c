import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { HatobaError } from '../../common/errors.js';
import type { ExecInput, ExecOutput, ExecStart } from '../../proto/gen/hatoba/v1/agent.js';
import type { Containers, ExecSession } from '../executor/local-engine.js';
import { toBuffer } from './bytes.js';
import { mergeIterables } from './merge-iterables.js';

/**
 * One command in a task's container: the first message says which, the others are its input. The
 * output is produced at the pace of its reader; the last message is the exit code.
 * The command is killed when the caller goes away.
 */
export async function* execInTask(
  containers: Pick<Containers, 'exec'>,
  messages: AsyncIterable<ExecInput>,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput, void, undefined> {
  const inputs = messages[Symbol.asyncIterator]();
  const start = await readStart(inputs);
  const session = await containers.exec(start.taskId, {
    command: start.command,
    env: start.env,
    user: start.user,
    dir: start.dir,
    tty: start.tty,
    stdin: start.stdin,
    ...(start.size === undefined ? {} : { size: start.size }),
  });
  let isOver = false;
  const kill = (): void => {
    if (!isOver) session.kill().catch(() => undefined); // it may have ended by itself just now
  };
  signal.addEventListener('abort', kill, { once: true });
  try {
    if (signal.aborted) return;
    feed(inputs, session).catch(kill);
    yield* mergeIterables([outputOf(session.stdout, 'stdout'), outputOf(session.stderr, 'stderr')]);
    const exitCode = await session.exitCode;
    isOver = true;
    yield { output: { $case: 'exitCode', value: exitCode } };
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}

async function readStart(inputs: AsyncIterator<ExecInput>): Promise<ExecStart> {
  const first = await inputs.next();
  const input = first.done === true ? undefined : first.value.input;
  if (input?.$case !== 'start') {
    throw new HatobaError('invalid-argument', 'the first message of an exec must be its start');
  }
  if (input.value.command.length === 0) {
    throw new HatobaError('invalid-argument', 'an exec needs a command');
  }
  return input.value;
}

async function feed(inputs: AsyncIterator<ExecInput>, session: ExecSession): Promise<void> {
  const { stdin } = session;
  // The command may close its input at any time; its output and exit code say what became of it.
  stdin.on('error', () => undefined);
  for (let next = await inputs.next(); next.done !== true; next = await inputs.next()) {
    const { input } = next.value;
    if (input?.$case === 'stdin') await write(stdin, input.value);
    else if (input?.$case === 'closeStdin') stdin.end();
    else if (input?.$case === 'resize') await session.resize(input.value);
  }
  stdin.end();
}

async function write(stdin: Writable, chunk: Uint8Array): Promise<void> {
  if (stdin.destroyed || stdin.writableEnded || stdin.write(chunk)) return;
  await Promise.race([once(stdin, 'drain'), once(stdin, 'close')]);
}

async function* outputOf(
  stream: Readable,
  $case: 'stdout' | 'stderr',
): AsyncGenerator<ExecOutput, void, undefined> {
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    yield { output: { $case, value: toBuffer(chunk) } };
  }
}
