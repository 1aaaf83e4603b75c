import { withEngine, type EngineSession } from './engine-session.js';
import { errorText, ExitCodeError, exitCodeOf } from './failure.js';
import { note } from './output/print.js';

/**
 * Does the same with each of several containers, images or volumes of this node. One that fails
 * does not keep the others from their turn.
 * @throws {ExitCodeError} that of the last failure, which has been told
 */
export async function forEach(
  names: readonly string[],
  act: (session: EngineSession, name: string) => Promise<void>,
): Promise<void> {
  await withEngine(async (session) => {
    let exitCode = 0;
    for (const name of names) {
      try {
        await act(session, name);
      } catch (error) {
        session.signal.throwIfAborted();
        if (names.length === 1) throw error;
        note(errorText(error));
        exitCode = exitCodeOf(error);
      }
    }
    if (exitCode !== 0) throw new ExitCodeError(exitCode);
  });
}
