import { decodeObject } from '../../../manager/store/codec.js';
import { KEY_ROOT, LEADER_KEY, meaningOf } from '../../../manager/store/keys.js';
import type { Store, StoreEvent, Transaction } from '../../../manager/store/store.js';
import { View, type ViewChange, type ViewEvent } from '../../../manager/view/view.js';
import type { SimProcess } from './process.js';
import type { Timeline } from './timeline.js';

/** Whose commit it is. */
export interface Writer {
  readonly process: SimProcess;
  readonly transaction: Transaction;
  /** In which it reached the store. */
  readonly step: number;
}

/** One change of the store, as it is made. */
export interface Commit {
  readonly revision: number;
  readonly changes: readonly ViewChange[];
  /** Undefined: the store itself, when a lease ran out. */
  readonly writer: Writer | undefined;
}

/** Who holds the campaign key, and since which revision. */
export interface Leader {
  readonly process: SimProcess;
  readonly createRevision: number;
}

/** What the store holds, without any delay: what all invariants are about. */
export class Truth {
  readonly view = new View();
  leader: Leader | undefined;
  readonly #onCommit: (commit: Commit) => void;
  readonly #timeline: Timeline;
  #changes: readonly ViewChange[] = [];
  /** Whose transaction reached the store last. */
  #last: Writer | undefined;

  constructor(timeline: Timeline, onCommit: (commit: Commit) => void) {
    this.#timeline = timeline;
    this.#onCommit = onCommit;
    this.view.onChange((changes) => {
      this.#changes = changes;
    });
  }

  /** A transaction reaches the store. */
  begins(process: SimProcess, transaction: Transaction): void {
    this.#last = { process, transaction, step: this.#timeline.steps };
  }

  async follow(store: Store): Promise<void> {
    await store.watch(KEY_ROOT, 1, {
      onEvents: (revision, events) => this.#apply(revision, events),
      onLost: (reason) => {
        throw reason;
      },
    });
  }

  #apply(revision: number, events: readonly StoreEvent[]): void {
    this.#changes = [];
    const writer = this.#last?.step === this.#timeline.steps ? this.#last : undefined;
    for (const event of events) this.#followLeader(revision, event, writer);
    this.view.apply(
      revision,
      events.flatMap((event) => toViewEvent(event)),
    );
    this.#onCommit({ revision, changes: this.#changes, writer });
  }

  #followLeader(revision: number, event: StoreEvent, writer: Writer | undefined): void {
    const key = event.type === 'put' ? event.entry.key : event.key;
    if (key !== LEADER_KEY) return;
    const isWon = event.type === 'put' && writer !== undefined;
    this.leader = isWon ? { process: writer.process, createRevision: revision } : undefined;
  }
}

function toViewEvent(event: StoreEvent): ViewEvent[] {
  if (event.type === 'delete') return meaningOf(event.key).what === 'object' ? [event] : [];
  const { key, value, revision } = event.entry;
  const meaning = meaningOf(key);
  if (meaning.what !== 'object') return [];
  const { kind } = meaning;
  const object = decodeObject(kind, value, revision);
  return [{ type: 'put', key, kind, object } as ViewEvent];
}
