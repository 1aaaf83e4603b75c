import type { Readable, Writable } from 'node:stream';
import { HatobaError } from '../../common/errors.js';
import type { TerminalSize } from '../../proto/gen/hatoba/v1/agent.js';
import { writeMessage } from '../../proto/wire/stream.js';
import { toBuffer } from './bytes.js';
import { mergeIterables } from './merge-iterables.js';

/** What a client sends to a process, after the first message. */
export type ProcessInput =
  | { $case: 'stdin'; value: Uint8Array }
  | { $case: 'closeStdin' | 'leave'; value: boolean }
  | { $case: 'resize'; value: TerminalSize };

/** What comes from it. */
export interface ProcessOutput {
  output: { $case: 'stdout' | 'stderr'; value: Buffer };
}

/** The streams of a process, as the engine gives them. */
export interface ProcessStreams {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  resize(size: TerminalSize): Promise<void>;
}

/** A message of a client: how it starts, then input. */
export interface ClientMessage<Start> {
  input?: { $case: 'start'; value: Start } | ProcessInput | undefined;
}

/**
 * The start that the first message must hold.
 * @throws {HatobaError} invalid-argument
 */
export async function readStart<Start>(
  inputs: AsyncIterator<ClientMessage<Start>>,
): Promise<Start> {
  const first = await inputs.next();
  const input = first.done === true ? undefined : first.value.input;
  if (input?.$case === 'start') return input.value;
  throw new HatobaError('invalid-argument', 'the first message must be the start');
}

/**
 * Gives a process what its client sends, to the end of that.
 * @returns whether the client has left the process alone
 */
async function feed(
  inputs: AsyncIterator<ClientMessage<unknown>>,
  process: ProcessStreams,
): Promise<boolean> {
  const { stdin } = process;
  // It may close its input at any time; its output and exit code say what became of it.
  stdin.on('error', () => undefined);
  for (let next = await inputs.next(); next.done !== true; next = await inputs.next()) {
    const { input } = next.value;
    if (input?.$case === 'stdin') await writeMessage(stdin, input.value);
    else if (input?.$case === 'closeStdin') stdin.end();
    else if (input?.$case === 'resize') await process.resize(input.value);
    else if (input?.$case === 'leave') return true;
  }
  stdin.end();
  return false;
}

/**
 * Feeds a process until its client leaves it alone.
 * @returns what never settles for a client who stays
 */
export function whenLeft(
  inputs: AsyncIterator<ClientMessage<unknown>>,
  process: ProcessStreams,
  on: { onFailure: () => void; onLeave?: () => void },
): Promise<undefined> {
  return new Promise((resolve) => {
    feed(inputs, process).then((hasLeft) => {
      if (!hasLeft) return;
      on.onLeave?.();
      resolve(undefined);
    }, on.onFailure);
  });
}

/** Both streams as they come, at the pace of their reader; they are left open when it leaves. */
export function outputOf({ stdout, stderr }: ProcessStreams): AsyncIterable<ProcessOutput> {
  return mergeIterables([messagesOf(stdout, 'stdout'), messagesOf(stderr, 'stderr')]);
}

async function* messagesOf(
  stream: Readable,
  $case: 'stdout' | 'stderr',
): AsyncGenerator<ProcessOutput, void, undefined> {
  const chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  for await (const chunk of chunks) yield { output: { $case, value: toBuffer(chunk) } };
}
