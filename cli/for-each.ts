import { withEngine, type EngineSession } from './engine-session.js';
import { errorText, ExitCodeError, exitCodeOf } from './failure.js';
import { note } from './output/print.js';

/** Does the same with each of several containers, images or volumes of this node, as `oneByOne`. */
export async function forEach(
  names: readonly string[],
  act: (session: EngineSession, name: string) => Promise<void>,
): Promise<void> {
  await withEngine((session) => oneByOne(session.signal, names, (name) => act(session, name)));
}

/**
 * Does the same with each of several things. One that fails does not keep the others from their
 * turn.
 * @throws {ExitCodeError} that of the last failure, which has been told
 */
export async function oneByOne(
  signal: AbortSignal,
  names: readonly string[],
  act: (name: string) => Promise<void>,
): Promise<void> {
  let exitCode = 0;
  for (const name of names) {
    try {
      await act(name);
    } catch (error) {
      signal.throwIfAborted();
      if (names.length === 1) throw error;
      note(errorText(error));
      exitCode = exitCodeOf(error);
    }
  }
  if (exitCode !== 0) throw new ExitCodeError(exitCode);
}
