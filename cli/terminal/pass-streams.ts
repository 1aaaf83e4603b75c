import { errnoOf, HatobaError } from '../../common/errors.js';
import type { TerminalSize } from '../../proto/gen/hatoba/v1/agent.js';
import { readStream } from '../../proto/wire/client.js';
import { writeMessage, type MessageSink } from '../../proto/wire/stream.js';
import { DetachScanner } from './detach-keys.js';
import { enterRawMode } from './raw-mode.js';
import { onWindowSize } from './window-size.js';

/** What is sent to a process on a node, be it of a task, of a container, or the container's own. */
export type ProcessInput =
  | { $case: 'stdin'; value: Buffer }
  | { $case: 'closeStdin'; value: boolean }
  | { $case: 'resize'; value: TerminalSize };

/** What comes from it. */
export type ProcessOutput =
  | { $case: 'attached'; value: boolean }
  | { $case: 'stdout' | 'stderr'; value: Buffer }
  | { $case: 'exitCode'; value: number };

/** A call that carries both. */
export type ProcessCall = MessageSink<{ input: ProcessInput }> &
  Parameters<typeof readStream<{ output?: ProcessOutput | undefined }>>[0];

export interface PassOptions {
  /** Passes this process's stdin on, and its end. */
  stdin: boolean;
  /** The process has a terminal: keys are passed on one by one, and the size of the window. */
  tty: boolean;
  /** Bytes that end the passing when they are typed. */
  detachKeys?: Uint8Array;
  /** Called at the detach keys: tells the other side, which then ends the call. */
  leave?: () => void;
  /** Called when nothing of the output can be missed any more. */
  onAttached?: () => Promise<void>;
  signal?: AbortSignal;
}

/** How it ended: with the process, or without it. */
export type PassResult =
  { readonly kind: 'exited'; readonly exitCode: number } | { readonly kind: 'detached' };

/**
 * Joins this process's terminal or pipes to those of a process on a node. The terminal is as it was
 * when this returns.
 * @throws {HatobaError} of the call; unavailable when it ends without an exit code
 */
export async function passStreams(call: ProcessCall, options: PassOptions): Promise<PassResult> {
  const output = readStream(call, options.signal);
  const input = new Input(call, options);
  const begun = new Begun(call, options.onAttached);
  const leaveTerminal = joinTerminal(call, options);
  let exitCode: number | undefined;
  try {
    if (options.stdin) void input.send();
    for await (const message of output) {
      exitCode = await onOutput(message.output, begun);
    }
  } catch (error) {
    if (!input.isDetached) throw begun.failure ?? error;
  } finally {
    leaveTerminal();
  }
  if (begun.failure !== undefined) throw begun.failure;
  if (exitCode !== undefined) return { kind: 'exited', exitCode };
  if (input.isDetached) return { kind: 'detached' };
  throw new HatobaError('unavailable', 'the connection ended before the command did');
}

/** @returns what puts this process's terminal back as it was */
function joinTerminal(call: ProcessCall, { stdin, tty }: PassOptions): () => void {
  const stopResizing = tty
    ? onWindowSize((value) => void writeMessage(call, { input: { $case: 'resize', value } }))
    : () => undefined;
  const leaveRawMode = tty && stdin ? enterRawMode() : () => undefined;
  return () => {
    stopResizing();
    leaveRawMode();
    // A terminal or pipe that was read from would keep this process alive.
    if (stdin) process.stdin.destroy();
  };
}

/** @returns the exit code, in the last message */
async function onOutput(
  part: ProcessOutput | undefined,
  begun: Begun,
): Promise<number | undefined> {
  if (part?.$case === 'attached') begun.begin();
  else if (part?.$case === 'exitCode') return part.value;
  else if (part !== undefined) await write(part);
  return undefined;
}

/** What the caller does once it is attached; a failure of it ends the call. */
class Begun {
  failure: Error | undefined;
  readonly #call: ProcessCall;
  readonly #work: (() => Promise<void>) | undefined;

  constructor(call: ProcessCall, work: (() => Promise<void>) | undefined) {
    this.#call = call;
    this.#work = work;
  }

  /** Not awaited: output may come before the work is done. */
  begin(): void {
    this.#work?.().catch((error: unknown) => {
      this.failure = error instanceof Error ? error : new Error(String(error));
      this.#call.cancel();
    });
  }
}

/** This process's stdin on its way to the other one. */
class Input {
  isDetached = false;
  readonly #call: ProcessCall;
  readonly #options: PassOptions;

  constructor(call: ProcessCall, options: PassOptions) {
    this.#call = call;
    this.#options = options;
  }

  /** Ends quietly with the call: what it was for is over then. */
  async send(): Promise<void> {
    const { detachKeys, leave } = this.#options;
    const scanner = detachKeys === undefined ? undefined : new DetachScanner(detachKeys);
    try {
      for await (const chunk of process.stdin) {
        const typed = chunk as Buffer;
        const { passed, isDetached } = scanner?.scan(typed) ?? { passed: typed, isDetached: false };
        if (passed.length > 0 && !(await this.#write({ $case: 'stdin', value: passed }))) return;
        if (isDetached) {
          this.isDetached = true;
          leave?.();
          return;
        }
      }
    } catch (error) {
      // Closed by passStreams itself, which waits no longer.
      if (errnoOf(error) !== 'ERR_STREAM_PREMATURE_CLOSE') this.#call.cancel();
      return;
    }
    await this.#write({ $case: 'closeStdin', value: true });
  }

  #write(input: ProcessInput): Promise<boolean> {
    return writeMessage(this.#call, { input });
  }
}

async function write(part: { $case: 'stdout' | 'stderr'; value: Buffer }): Promise<void> {
  const target = part.$case === 'stdout' ? process.stdout : process.stderr;
  if (!target.write(part.value)) await new Promise((resolve) => target.once('drain', resolve));
}
