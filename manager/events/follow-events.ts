import { HatobaError } from '../../common/errors.js';
import type { ListEventsRequest } from '../../proto/gen/hatoba/v1/control.js';
import type { Event } from '../../proto/gen/hatoba/v1/types.js';
import { eventFilter, isNamed } from './event-filter.js';
import type { EventLog } from './event-log.js';

/** Different events that may wait for a slow reader. */
export const MAX_WAITING_EVENTS = 10_000;

/**
 * The events asked for: those that are known, oldest first, and with `follow` those that come, until
 * the signal aborts. Of one that repeats before it was read, the reader gets the latest count.
 * @param isName whether an object of the cluster is called so
 * @throws {HatobaError} resource-exhausted for a reader that is too slow
 */
export async function* readEvents(
  log: EventLog,
  request: ListEventsRequest,
  isName: (text: string) => boolean,
  signal: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  const known = log.list(request.sinceMs);
  const { object } = request;
  const isWanted = eventFilter(request, isName(object) || known.some((e) => isNamed(e, object)));
  if (!request.follow) {
    yield* known.filter(isWanted);
    return;
  }
  const waiting = new Map<string, Event>();
  let wake = (): void => undefined;
  const unsubscribe = log.onEvent((event, key) => {
    if (!isWanted(event) || waiting.size > MAX_WAITING_EVENTS) return;
    waiting.delete(key);
    waiting.set(key, event);
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    yield* known.filter(isWanted);
    while (!signal.aborted) {
      if (waiting.size > MAX_WAITING_EVENTS) throw tooSlow();
      const [first] = waiting;
      if (first === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else {
        waiting.delete(first[0]);
        yield first[1];
      }
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', onAbort);
  }
}

function tooSlow(): HatobaError {
  return new HatobaError(
    'resource-exhausted',
    `more than ${MAX_WAITING_EVENTS} events wait to be read: ask again, and read faster`,
  );
}
