import { unary } from '../../proto/wire/client.js';
import type { EngineSession } from '../engine-session.js';
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from './detach-keys.js';
import { passStreams, type PassResult } from './pass-streams.js';
import { requireTerminal } from './raw-mode.js';
import { proxySignals } from './signal-proxy.js';
import { windowSize } from './window-size.js';

export interface JoinOptions {
  /** Name or id. */
  container: string;
  /** Passes this process's stdin on; the container must have been made with an open one. */
  stdin: boolean;
  /** Whether the container was made with a terminal. */
  tty: boolean;
  /** "ctrl-p,ctrl-q" when empty. They count where stdin is passed on to a terminal. */
  detachKeys: string;
  /** Passes signals on to the container; without a terminal only, where Ctrl-C is a signal. */
  sigProxy: boolean;
  /**
   * The container waits while nobody reads this process's output, as the writer of a pipe does;
   * for whoever starts it. Else one who is far behind is cut off.
   */
  holdsBack: boolean;
  /** Called once nothing of the output can be missed: here a container that was made is started. */
  onAttached?: () => Promise<void>;
}

/**
 * Joins this process's terminal or pipes to a container's own process, until that ends or the
 * detach keys are typed. Session.signal does not abort meanwhile where signals are passed on.
 * @throws {HatobaError} not-found; failed-precondition when it does not run; what onAttached throws
 */
export async function joinContainer(
  session: EngineSession,
  options: JoinOptions,
): Promise<PassResult> {
  const { container, stdin, tty } = options;
  if (stdin && tty) requireTerminal();
  const detachKeys = parseDetachKeys(options.detachKeys || DEFAULT_DETACH_KEYS);
  const call = session.engine.containerAttach();
  const stopSignals =
    options.sigProxy && !tty ? passSignals(session, container, call) : () => undefined;
  call.write({
    input: {
      $case: 'start',
      value: {
        container,
        stdin,
        size: tty ? windowSize() : undefined,
        holdsBack: options.holdsBack,
        nextRun: options.onAttached !== undefined,
      },
    },
  });
  try {
    return await passStreams(call, {
      stdin,
      tty,
      signal: session.signal,
      ...(tty &&
        stdin && {
          detachKeys,
          leave: () => call.write({ input: { $case: 'leave', value: true } }),
        }),
      ...(options.onAttached && { onAttached: options.onAttached }),
    });
  } finally {
    stopSignals();
  }
}

function passSignals(
  { engine, interrupts }: EngineSession,
  container: string,
  call: { cancel(): void },
): () => void {
  const giveBack = interrupts.hold();
  const stop = proxySignals(
    (signal) => {
      // It may have ended just now, or not be there yet: the call tells of both.
      unary(engine.containerKill.bind(engine), { container, signal }).catch(() => undefined);
    },
    () => call.cancel(),
  );
  return () => {
    stop();
    giveBack();
  };
}
