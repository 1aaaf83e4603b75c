import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { EngineEvent, EngineSystem } from '../../runtime/engine.js';

/** Events that wait for a slow reader; who is further behind is cut off. */
const MAX_WAITING = 10_000;

/**
 * Events as they happen, before them those since a point of time that are still known.
 * @param options.sinceMs 0 = from now on
 * @param options.untilMs 0 = without end
 * @throws {HatobaError} resource-exhausted for a reader that is too slow; the signal's reason
 */
export async function* eventsOf(
  system: Pick<EngineSystem, 'onEvent' | 'recentEvents'>,
  { sinceMs, untilMs }: { sinceMs: number; untilMs: number },
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<EngineEvent, void, undefined> {
  const waiting: EngineEvent[] = [];
  let wake = (): void => undefined;
  const isOver = (): boolean => untilMs > 0 && clock.nowMs() >= untilMs;
  const unsubscribe = system.onEvent((event) => {
    waiting.push(event);
    wake();
  });
  const onWake = (): void => wake();
  signal.addEventListener('abort', onWake);
  const cancel =
    untilMs > 0 && !isOver() ? clock.setTimer(untilMs - clock.nowMs(), onWake) : onWake;
  try {
    const known = sinceMs > 0 ? system.recentEvents() : [];
    waiting.unshift(...known.filter((e) => e.timeMs >= sinceMs && !waiting.includes(e)));
    for (;;) {
      signal.throwIfAborted();
      const event = waiting.shift();
      if (event !== undefined) {
        if (untilMs === 0 || event.timeMs < untilMs) yield event;
      } else if (isOver()) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      checkWaiting(waiting.length);
    }
  } finally {
    cancel();
    unsubscribe();
    signal.removeEventListener('abort', onWake);
  }
}

function checkWaiting(count: number): void {
  if (count <= MAX_WAITING) return;
  throw new HatobaError(
    'resource-exhausted',
    `events come faster than they are read: ${count} wait; ask again`,
  );
}
