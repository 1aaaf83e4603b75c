import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import { decodeObject } from '../store/codec.js';
import { KEY_ROOT, LEADER_KEY, meaningOf } from '../store/keys.js';
import type { Entry, Store, StoreEvent, Watch } from '../store/store.js';
import type { View, ViewEvent, ViewPut, ViewUnreadable } from './view.js';

export interface ReflectorModules {
  store: Store;
  view: View;
  clock: Clock;
  random: Random;
  logger: Logger;
}

const BACKOFF = { baseMs: 100, maxMs: 5000 };

/**
 * Keeps a view equal to the store: lists at a revision, watches from there, and lists again when
 * the watch is lost, telling the view's listeners only of what differs.
 */
export class Reflector implements AsyncDisposable {
  readonly #modules: ReflectorModules;
  readonly #end = new AbortController();
  #running: Promise<void> | undefined;
  #relists = 0;

  constructor(modules: ReflectorModules) {
    this.#modules = modules;
  }

  /** How often the whole state had to be listed; 1 after a start without trouble. */
  get relists(): number {
    return this.#relists;
  }

  /**
   * Starts, and resolves once the view shows a whole list. Runs until it is disposed. Once only.
   * @throws the signal's reason, when it aborts before that
   */
  start(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#end.abort(signal?.reason);
        reject(signal?.reason as Error);
      };
      if (signal?.aborted === true) {
        onAbort();
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#running = this.#run(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }

  get #isEnded(): boolean {
    return this.#end.signal.aborted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  /** Never rejects. */
  async #run(onSynced: () => void): Promise<void> {
    const { clock, random, logger } = this.#modules;
    let failures = 0;
    while (!this.#isEnded) {
      try {
        await this.#follow(() => {
          failures = 0;
          onSynced();
        });
      } catch (error) {
        failures++;
        if (!this.#end.signal.aborted)
          logger.warn('Lost the store, listing again', { failures }, error);
      }
      // also after a clean loss: a handler that loses at once must not spin
      const delayMs = backoffMs(Math.max(1, failures), BACKOFF, random);
      await sleep(clock, delayMs, this.#end.signal).catch(() => undefined);
    }
  }

  /** One list and its watch; resolves when the watch is lost or this reflector ends. */
  async #follow(onSynced: () => void): Promise<void> {
    const { store, view, logger } = this.#modules;
    const { revision, entries } = await store.list(KEY_ROOT);
    if (this.#isEnded) return;
    this.#relists++;
    this.#reset(revision, entries);
    let onLost = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      onLost = resolve;
    });
    this.#end.signal.addEventListener('abort', onLost, { once: true });
    const watch: Watch = await store.watch(KEY_ROOT, revision, {
      onEvents: (at, events) => this.#apply(at, events),
      onLost: (reason) => {
        logger.info('Watch was lost', { revision: view.revision, reason: reason.message });
        onLost();
      },
    });
    onSynced();
    await ended;
    this.#end.signal.removeEventListener('abort', onLost);
    await watch.close();
  }

  #reset(revision: number, entries: readonly Entry[]): void {
    const { view } = this.#modules;
    const leader = entries.find((e) => e.key === LEADER_KEY);
    view.setLeader(leader === undefined ? undefined : Buffer.from(leader.value).toString());
    const objects = entries.flatMap((entry) => this.#decode(entry) ?? []);
    this.#guarded(() => view.reset(revision, objects));
  }

  #apply(revision: number, events: readonly StoreEvent[]): void {
    const { view } = this.#modules;
    const changes: ViewEvent[] = [];
    for (const event of events) {
      const key = event.type === 'put' ? event.entry.key : event.key;
      const { what } = meaningOf(key);
      if (what === 'leader') {
        view.setLeader(
          event.type === 'put' ? Buffer.from(event.entry.value).toString() : undefined,
        );
      }
      if (what !== 'object') continue;
      const change = event.type === 'put' ? this.#decode(event.entry) : event;
      if (change !== undefined) changes.push(change);
    }
    this.#guarded(() => view.apply(revision, changes));
  }

  /** A value that cannot be read must not blind the manager to all others. */
  #decode({ key, value, revision }: Entry): ViewPut | ViewUnreadable | undefined {
    const meaning = meaningOf(key);
    if (meaning.what !== 'object') return undefined;
    const { kind } = meaning;
    try {
      const object = decodeObject(kind, value, revision);
      return { type: 'put', key, kind, object } as ViewPut;
    } catch (error) {
      this.#modules.logger.error('Stored object cannot be read, left out', { key }, error);
      return { type: 'unreadable', key };
    }
  }

  /** A listener that throws must not end the watch; the view itself is complete by then. */
  #guarded(change: () => void): void {
    try {
      change();
    } catch (error) {
      this.#modules.logger.error('Listener of the view broke', {}, error);
    }
  }
}
