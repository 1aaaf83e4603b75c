import { rmSync, writeFileSync } from 'node:fs';
import { describeError, errnoOf, HatobaError, isKind } from '../../common/errors.js';
import { unary } from '../../proto/wire/client.js';
import type { EngineSession } from '../engine-session.js';
import { EXIT, ExitCodeError } from '../failure.js';
import { note, print } from '../output/print.js';
import { requireTerminal } from '../terminal/raw-mode.js';
import { joinContainer } from '../terminal/join-container.js';
import type { ContainerFlags } from './container-flags.js';
import { createContainer } from './create-container.js';

export interface RunFlags extends ContainerFlags {
  detach: boolean;
  detachKeys: string;
  sigProxy: boolean;
  cidfile?: string;
}

/**
 * `hatoba run`: makes a container, starts it, and unless detached joins it until it ends.
 * @throws {ExitCodeError} with the container's exit code, or 125–127 when it could not be run
 */
export async function runContainer(
  session: EngineSession,
  image: string,
  words: readonly string[],
  flags: RunFlags,
): Promise<void> {
  let exitCode: number;
  try {
    if (flags.interactive && flags.tty && !flags.detach) requireTerminal();
    const id = await makeContainer(session, image, words, {
      ...flags,
      // a client that is there feeds stdin until its own ends
      stdinOnce: flags.interactive && !flags.detach,
    });
    exitCode = await startOrRemove(session, id, flags);
  } catch (error) {
    // that no agent answers is explained by whoever opened the session
    if (isKind(error, 'cancelled', 'unavailable') || error instanceof ExitCodeError) throw error;
    note(`error: ${describeError(error)}`);
    throw new ExitCodeError(EXIT.neverRan);
  }
  if (exitCode !== 0) throw new ExitCodeError(exitCode);
}

/** @returns its exit code, or that of a start that failed */
async function startOrRemove(session: EngineSession, id: string, flags: RunFlags): Promise<number> {
  try {
    session.signal.throwIfAborted();
    return flags.detach ? await startDetached(session, id) : await join(session, id, flags);
  } catch (error) {
    if (flags.rm) await removeUnstarted(session, id);
    throw error;
  }
}

/** By Ctrl-C before it ran, nothing of it stays; one that does run is removed at its end. */
async function removeUnstarted({ engine }: EngineSession, id: string): Promise<void> {
  const removal = { container: id, force: false, volumes: true };
  await unary(engine.containerRemove.bind(engine), removal).catch(() => undefined);
}

/** Makes it, and notes its id in the --cidfile; one that is there is not overwritten. */
export async function makeContainer(
  session: EngineSession,
  image: string,
  words: readonly string[],
  flags: ContainerFlags & { cidfile?: string; stdinOnce?: boolean },
): Promise<string> {
  const { cidfile } = flags;
  if (cidfile === undefined) return await createContainer(session, image, words, flags);
  claimIdFile(cidfile);
  try {
    const id = await createContainer(session, image, words, flags);
    writeFileSync(cidfile, id);
    return id;
  } catch (error) {
    rmSync(cidfile, { force: true });
    throw error;
  }
}

function claimIdFile(path: string): void {
  try {
    writeFileSync(path, '', { flag: 'wx' });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    throw new HatobaError(
      'already-exists',
      `--cidfile ${path} is there already: another container may be running; remove it first`,
    );
  }
}

async function startDetached(session: EngineSession, id: string): Promise<number> {
  const failure = await tryStart(session, id);
  if (failure !== undefined) return failure;
  print(id);
  return 0;
}

async function join(session: EngineSession, id: string, flags: RunFlags): Promise<number> {
  try {
    const result = await joinContainer(session, {
      container: id,
      stdin: flags.interactive,
      tty: flags.tty,
      detachKeys: flags.detachKeys,
      sigProxy: flags.sigProxy,
      holdsBack: true,
      onAttached: async () => {
        const failure = await tryStart(session, id);
        if (failure !== undefined) throw new StartFailed(failure);
      },
    });
    return result.kind === 'exited' ? result.exitCode : 0;
  } catch (error) {
    if (error instanceof StartFailed) return error.exitCode;
    throw error;
  }
}

class StartFailed extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super('the container could not be started');
    this.exitCode = exitCode;
  }
}

/**
 * Starts a new container; one that cannot be started is told of, and removed where it was to be
 * removed at its end.
 * @returns the exit code of the failure: 127 no such command, 126 not to be executed, else 125
 */
async function tryStart(session: EngineSession, id: string): Promise<number | undefined> {
  const { engine, signal } = session;
  try {
    await unary(engine.containerStart.bind(engine), { container: id }, { signal });
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    note(`error: ${describeError(error)}`);
    return await exitCodeOfFailure(session, id);
  }
}

async function exitCodeOfFailure({ engine, signal }: EngineSession, id: string): Promise<number> {
  try {
    const request = { container: id, size: false };
    const { state, autoRemove } = await unary(engine.containerInspect.bind(engine), request, {
      signal,
    });
    if (autoRemove) {
      const removal = { container: id, force: true, volumes: true };
      await unary(engine.containerRemove.bind(engine), removal, { signal });
    }
    return [126, 127].includes(state?.exitCode ?? 0)
      ? (state?.exitCode ?? EXIT.neverRan)
      : EXIT.neverRan;
  } catch {
    return EXIT.neverRan; // it is gone already; the reason was told
  }
}
