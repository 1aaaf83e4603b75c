import { HatobaError } from '../../common/errors.js';
import type { Containers, ContainerEvent, ContainerState } from '../../runtime/engine.js';

const CONDITIONS = ['not-running', 'next-exit', 'removed', 'healthy'] as const;
type Condition = (typeof CONDITIONS)[number];

/**
 * The state of a container when a condition holds, or its last one where it has been removed.
 * A restart by its rule is no exit.
 * @param condition "" = "not-running"
 * @throws {HatobaError} invalid-argument for another condition; failed-precondition when it cannot
 *   become healthy any more; the signal's reason
 */
export function waitFor(
  containers: Pick<Containers, 'get' | 'onEvent'>,
  state: ContainerState,
  condition: string,
  signal: AbortSignal,
): Promise<ContainerState> {
  const asked = CONDITIONS.find((c) => c === (condition === '' ? 'not-running' : condition));
  if (asked === undefined) {
    throw new HatobaError(
      'invalid-argument',
      `"${condition}" cannot be waited for: use ${CONDITIONS.join(', ')}`,
    );
  }
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      unsubscribe();
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    const onAbort = (): void => end(() => reject(signal.reason as Error));
    const look = (now: ContainerState, event?: ContainerEvent['type']): void => {
      const answer = holds(asked, now, event);
      if (answer instanceof HatobaError) end(() => reject(answer));
      else if (answer) end(() => resolve(now));
    };
    const unsubscribe = containers.onEvent((event) => {
      if (event.id === state.config.id) look(event.state, event.type);
    });
    signal.addEventListener('abort', onAbort, { once: true });
    const now = containers.get(state.config.id);
    look(now ?? state, now === undefined ? 'removed' : undefined);
    if (signal.aborted) onAbort();
  });
}

/**
 * Whether a condition holds; an error when it cannot any more.
 * @param event what has just happened to it; undefined: nothing, this is a look at it
 */
function holds(
  condition: Condition,
  state: ContainerState,
  event: ContainerEvent['type'] | undefined,
): boolean | HatobaError {
  if (event === 'removed') {
    return condition === 'healthy' ? notHealthy(state, 'it was removed') : true;
  }
  const isOver = state.status === 'exited';
  switch (condition) {
    case 'removed':
      return false;
    case 'not-running':
      return isOver || state.status === 'created';
    case 'next-exit':
      return isOver && event === 'exited';
    case 'healthy':
      if (state.health === 'unhealthy') return notHealthy(state, 'it is unhealthy');
      if (isOver) return notHealthy(state, 'it does not run');
      return state.status === 'running' && state.health !== 'starting';
  }
}

function notHealthy({ config, healthOutput }: ContainerState, why: string): HatobaError {
  const output = healthOutput === '' ? '' : `: ${healthOutput}`;
  return new HatobaError(
    'failed-precondition',
    `container "${config.name}" does not become healthy: ${why}${output}`,
  );
}
