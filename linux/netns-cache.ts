import { Lru } from './lru.js';
import { netnsIdentity, type NetnsThread } from './netns.js';

/**
 * Something kept open per network namespace, such as a socket: opened inside it, used from outside.
 * 1. A namespace whose file was replaced by another's is never mistaken for the former one.
 * 2. At most `capacity` are open besides the thread's own; each keeps its namespace alive, so
 *    `drop()` comes before the namespace's end.
 */
export class NetnsCache<T> {
  readonly #thread: NetnsThread;
  readonly #open: () => T;
  readonly #close: (value: T) => void;
  readonly #values: Lru<{ identity: string; value: T }>;
  #own: T | undefined;

  constructor(
    thread: NetnsThread,
    capacity: number,
    kind: { open: () => T; close: (value: T) => void },
  ) {
    this.#thread = thread;
    this.#open = kind.open;
    this.#close = kind.close;
    this.#values = new Lru(capacity, ({ value }) => {
      kind.close(value);
    });
  }

  /** @throws {HatobaError} not-found when there is no such namespace */
  get(path: string | undefined): T {
    if (path === undefined) return (this.#own ??= this.#open());
    const identity = netnsIdentity(path);
    const known = this.#values.get(path);
    if (known?.identity === identity) return known.value;
    const value = this.#thread.inside(path, this.#open);
    this.#values.set(path, { identity, value });
    return value;
  }

  drop(path: string): void {
    this.#values.delete(path);
  }

  close(): void {
    this.#values.clear();
    if (this.#own !== undefined) this.#close(this.#own);
    this.#own = undefined;
  }
}
