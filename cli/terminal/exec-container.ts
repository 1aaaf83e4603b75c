import type { EngineSession } from '../engine-session.js';
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from './detach-keys.js';
import { passStreams, type PassResult } from './pass-streams.js';
import { requireTerminal } from './raw-mode.js';
import { windowSize } from './window-size.js';

export interface ExecRequest {
  /** Name or id. */
  container: string;
  command: readonly string[];
  env: readonly string[];
  user: string;
  dir: string;
  stdin: boolean;
  tty: boolean;
  privileged: boolean;
  /** Starts it and leaves it running. */
  detach: boolean;
  /** "ctrl-p,ctrl-q" when empty. */
  detachKeys: string;
}

/**
 * Runs a command in a container with this process's terminal or pipes. At the detach keys the
 * command is left running; when this process ends, it is killed.
 * @throws {HatobaError} not-found; failed-precondition when the container does not run
 */
export async function execInContainer(
  session: EngineSession,
  request: ExecRequest,
): Promise<PassResult> {
  const { detachKeys: keys, command, env, ...rest } = request;
  const { tty, detach } = request;
  const stdin = request.stdin && !detach;
  if (stdin && tty) requireTerminal();
  const detachKeys = parseDetachKeys(keys || DEFAULT_DETACH_KEYS);
  const call = session.engine.containerExec();
  const size = tty ? windowSize() : undefined;
  const value = { ...rest, stdin, size, command: [...command], env: [...env] };
  call.write({ input: { $case: 'start', value } });
  return await passStreams(call, {
    stdin,
    tty: tty && !detach,
    signal: session.signal,
    ...(tty &&
      stdin && {
        detachKeys,
        leave: () => call.write({ input: { $case: 'leave', value: true } }),
      }),
  });
}
