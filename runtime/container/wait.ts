import type { ContainerState } from '../engine.js';
import { toContainerState } from './record.js';
import type { ContainerRegistry } from './registry.js';

/**
 * Resolves when a container has exited and is not about to be restarted by its rule; at once when
 * that is so already, and also when it is removed.
 * @throws {HatobaError} not-found; the signal's reason
 */
export function waitForExit(
  registry: ContainerRegistry,
  id: string,
  signal?: AbortSignal,
): Promise<ContainerState> {
  return new Promise((resolve, reject) => {
    const entry = registry.mustGet(id);
    if (entry.status.status === 'exited') {
      resolve(toContainerState(entry));
      return;
    }
    signal?.throwIfAborted();
    const onAbort = (): void => {
      end();
      reject(signal?.reason as Error);
    };
    const end = registry.onEvent((event) => {
      if (event.id !== id) return;
      if (event.type !== 'removed' && event.state.status !== 'exited') return;
      end();
      signal?.removeEventListener('abort', onAbort);
      resolve(event.state);
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
