import { HatobaError } from '../../common/errors.js';
import { toCapabilitySets } from './capabilities.js';
import type { OciProcess, OciRlimit } from './oci-spec.js';
import { mergeEnv } from './process-plan.js';
import { explainStartFailure, startFailureExitCode } from './start-failure.js';
import type { ResolvedUser } from './user.js';

/** A shell's exit code for a command that cannot be run; Docker's too. */
const CANNOT_EXECUTE = 126;
const NOT_FOUND = 127;

export interface ExecRequest {
  command: readonly string[];
  env: readonly string[];
  /** Empty = the container's. */
  dir: string;
  tty: boolean;
  size?: { rows: number; columns: number };
  privileged?: boolean;
}

/**
 * A further process of a container: its own one, with what the caller wants otherwise.
 * @param base the container's own process, as read back from its bundle
 * @param user undefined = the container's
 * @param capabilities all that can be given
 * @throws {HatobaError} invalid-argument
 */
export function planExecProcess(
  base: OciProcess,
  request: ExecRequest,
  user: ResolvedUser | undefined,
  capabilities: ReadonlySet<string>,
): OciProcess {
  const { command, env, dir, tty, size, privileged } = request;
  if (command.length === 0) {
    throw new HatobaError('invalid-argument', 'nothing to execute: the command is empty');
  }
  if (dir !== '' && !dir.startsWith('/')) {
    throw new HatobaError('invalid-argument', `working directory "${dir}" must begin with "/"`);
  }
  const home = user === undefined ? [] : [`HOME=${user.home}`];
  const term = tty ? ['TERM=xterm'] : [];
  const { consoleSize: _, ...rest } = base;
  return {
    ...rest,
    terminal: tty,
    ...(tty && size && { consoleSize: { height: size.rows, width: size.columns } }),
    args: command,
    env: mergeEnv(base.env, home, term, env),
    cwd: dir === '' ? base.cwd : dir,
    user:
      user === undefined
        ? base.user
        : { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    ...(privileged === true && { capabilities: toCapabilitySets([...capabilities].toSorted()) }),
    rlimits: base.rlimits.map(restoreUnlimited),
  };
}

/** 2^64-1 comes back from JSON as the nearest number there is. */
function restoreUnlimited(limit: OciRlimit): OciRlimit {
  const restore = (value: OciRlimit['soft']): OciRlimit['soft'] =>
    typeof value === 'number' && value >= 2 ** 64 ? 'unlimited' : value;
  return { ...limit, soft: restore(limit.soft), hard: restore(limit.hard) };
}

/** What becomes of a command that did not run, by what crun said of it. */
export function execFailure(
  message: string,
  command: readonly string[],
): { text: string; exitCode: number } {
  const text = explainStartFailure(message, command[0] ?? '');
  const exitCode = startFailureExitCode(text);
  return { text, exitCode: exitCode === NOT_FOUND ? NOT_FOUND : CANNOT_EXECUTE };
}
