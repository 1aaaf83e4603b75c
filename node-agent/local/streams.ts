import type { ExecOutput } from '../../proto/gen/hatoba/v1/agent.js';
import type {
  ContainerAttachInput,
  ContainerAttachOutput,
  ContainerExecInput,
} from '../../proto/gen/hatoba/v1/engine.js';
import type { Containers } from '../../runtime/engine.js';
import { execProcess } from '../rpc/exec-process.js';
import { outputOf, readStart, whenLeft } from '../rpc/process-stream.js';
import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';

export function streamMethods({
  engine: { containers },
}: EngineMethodsModules): EngineMethods<'containerAttach' | 'containerExec'> {
  return {
    containerAttach: (messages, { signal }) => attachStream(containers, messages, signal),
    containerExec: (messages, { signal }) => execStream(containers, messages, signal),
  };
}

/** A command in a container; see execProcess. */
export async function* execStream(
  containers: Pick<Containers, 'exec' | 'find'>,
  messages: AsyncIterable<ContainerExecInput>,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput, void, undefined> {
  const inputs = messages[Symbol.asyncIterator]();
  const start = await readStart(inputs);
  const { id } = containers.find(start.container).config;
  yield* execProcess(containers, id, start, inputs, signal);
}

/**
 * The streams of a container's own process, until its run ends: first `attached`, then output, at
 * last the exit code, also where a restart follows. The container does not mind a client that goes.
 * @throws {HatobaError} not-found; failed-precondition when it does not run
 */
export async function* attachStream(
  containers: Pick<Containers, 'attach' | 'find' | 'onEvent'>,
  messages: AsyncIterable<ContainerAttachInput>,
  signal: AbortSignal,
): AsyncGenerator<ContainerAttachOutput, void, undefined> {
  const inputs = messages[Symbol.asyncIterator]();
  const { container, stdin, size, holdsBack, nextRun } = await readStart(inputs);
  const { id } = containers.find(container).config;
  const exit = watchExit(containers, id, signal);
  try {
    const session = await containers.attach(id, {
      ...{ stdin, holdsBack, nextRun },
      ...(size !== undefined && { size }),
    });
    const detach = (): void => session.detach();
    signal.addEventListener('abort', detach, { once: true });
    try {
      yield { output: { $case: 'attached', value: true } };
      const left = whenLeft(inputs, session, { onFailure: detach, onLeave: detach });
      yield* outputOf(session);
      const exitCode = await Promise.race([exit.code, left]);
      if (exitCode !== undefined) yield { output: { $case: 'exitCode', value: exitCode } };
    } finally {
      signal.removeEventListener('abort', detach);
      detach();
    }
  } finally {
    exit.stop();
  }
}

/** The end of the run that is attached to; without a code when there is none to come. */
function watchExit(
  containers: Pick<Containers, 'onEvent'>,
  id: string,
  signal: AbortSignal,
): { code: Promise<number | undefined>; stop: () => void } {
  let stop = (): void => undefined;
  const code = new Promise<number | undefined>((resolve) => {
    const unsubscribe = containers.onEvent((event) => {
      const isEnd = event.type === 'exited' || event.type === 'removed';
      if (event.id === id && isEnd) resolve(event.state.exitCode);
    });
    const onAbort = (): void => resolve(undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    stop = () => {
      unsubscribe();
      signal.removeEventListener('abort', onAbort);
    };
  });
  return { code, stop };
}
