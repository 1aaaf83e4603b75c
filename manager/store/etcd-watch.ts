import type { Etcd3, IEvent, IWatchResponse } from 'etcd3';
import { backoffMs } from '../../common/backoff.js';
import type { Clock } from '../../common/clock.js';
import type { Random } from '../../common/random.js';
import type { StoreEvent, Watch, WatchHandler } from './store.js';

type Stream = Awaited<ReturnType<Etcd3['watchClient']['watch']>>;
export interface EtcdWatchModules {
  clock: Clock;
  random: Random;
  open: () => Promise<Stream>;
  onClose: () => void;
}

const BACKOFF = { baseMs: 50, maxMs: 2000 };

/**
 * One watch on one stream of its own. The client library's watcher resumes at the revision in the
 * header of etcd's answers, which may be ahead of the events delivered so far; this one resumes
 * behind the last event it has handed on, so that a reconnect skips nothing.
 */
export class EtcdWatch implements Watch {
  readonly #range: { key: Buffer; rangeEnd: Buffer };
  readonly #handler: WatchHandler;
  readonly #modules: EtcdWatchModules;
  /** Revision of the last event handed on. */
  #seen: number;
  #stream: Stream | undefined;
  #failures = 0;
  #cancelRetry = (): void => undefined;
  #isClosed = false;

  constructor(
    range: { key: Buffer; rangeEnd: Buffer; revision: number },
    handler: WatchHandler,
    modules: EtcdWatchModules,
  ) {
    this.#range = range;
    this.#seen = range.revision;
    this.#handler = handler;
    this.#modules = modules;
  }

  start(): void {
    this.#modules.open().then(
      (stream) => this.#onOpen(stream),
      () => this.#retry(),
    );
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    this.#cancelRetry();
    this.#stream?.cancel();
    this.#modules.onClose();
    return Promise.resolve();
  }

  #onOpen(stream: Stream): void {
    const onBroken = (): void => {
      if (this.#stream === stream) this.#retry();
    };
    this.#stream = stream;
    stream.on('error', onBroken); // also after close: cancelling reports an error
    stream.on('end', onBroken);
    stream.on('data', (response) => {
      if (this.#stream === stream && !this.#isClosed) this.#onData(response);
    });
    if (this.#isClosed) {
      stream.cancel();
      return;
    }
    stream.write({
      create_request: {
        key: this.#range.key,
        range_end: this.#range.rangeEnd,
        start_revision: this.#seen + 1,
      },
    });
  }

  #onData(response: IWatchResponse): void {
    this.#failures = 0;
    if (response.canceled) {
      // compacted, or refused: either way the way on is a new list
      const compacted = response.compact_revision !== '0';
      const reason = compacted
        ? `revision ${this.#seen + 1} was compacted (history starts at ${response.compact_revision})`
        : `etcd ended the watch: ${response.cancel_reason}`;
      void this.close();
      this.#handler.onLost(new Error(reason));
      return;
    }
    for (const { revision, events } of byRevision(response.events)) {
      if (this.#isClosed) return; // by the handler of the one before
      this.#seen = revision;
      this.#handler.onEvents(revision, events);
    }
  }

  #retry(): void {
    this.#stream?.cancel();
    this.#stream = undefined;
    if (this.#isClosed) return;
    this.#failures++;
    const delayMs = backoffMs(this.#failures, BACKOFF, this.#modules.random);
    this.#cancelRetry = this.#modules.clock.setTimer(delayMs, () => this.start());
  }
}

/** etcd never splits a revision over responses, but one response may bring many revisions. */
function byRevision(events: readonly IEvent[]): { revision: number; events: StoreEvent[] }[] {
  const groups: { revision: number; events: StoreEvent[] }[] = [];
  for (const { type, kv } of events) {
    const revision = Number(kv.mod_revision);
    let group = groups.at(-1);
    if (group?.revision !== revision) {
      group = { revision, events: [] };
      groups.push(group);
    }
    const key = kv.key.toString();
    group.events.push(
      type.toLowerCase() === 'put' // declared as Put, sent as PUT
        ? { type: 'put', entry: { key, value: kv.value, revision } }
        : { type: 'delete', key },
    );
  }
  return groups;
}
