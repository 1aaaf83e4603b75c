import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Event } from '../../proto/gen/hatoba/v1/types.js';
import type { View, ViewChange } from '../view/view.js';
import { eventsOfChange, eventsOfObjects } from './derive.js';
import type { EventFile } from './event-file.js';
import { EVENT_LIFE_MS, EventLog } from './event-log.js';

export interface RecorderModules {
  readonly view: View;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly file: EventFile;
}

/** Events are on disk so soon after they happened. */
const WRITE_EVERY_MS = 1000;
/** The file begins anew when it has become so long. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/**
 * Derives events from what changes in the view, and keeps them over a restart. Each manager does so
 * for itself: nothing of it is in the store. What happened while this manager was away is told from
 * the objects, as far as they still know.
 */
export class EventRecorder implements AsyncDisposable {
  readonly log = new EventLog();
  readonly #modules: RecorderModules;
  readonly #unwritten = new Map<string, Event>();
  #unwatch = (): void => undefined;
  #cancelTimer: (() => void) | undefined;
  #writing = Promise.resolve();
  #mustReplace = false;

  private constructor(modules: RecorderModules) {
    this.#modules = modules;
  }

  /** @param modules.view shows the whole cluster already */
  static async start(modules: RecorderModules): Promise<EventRecorder> {
    const recorder = new EventRecorder(modules);
    await recorder.#load();
    recorder.#unwatch = modules.view.onChange((changes) => {
      recorder.#onChange(changes);
    });
    return recorder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch();
    this.#cancelTimer?.();
    this.#write();
    await this.#writing;
  }

  async #load(): Promise<void> {
    const { view, clock, logger, file } = this.#modules;
    const sinceMs = clock.nowMs() - EVENT_LIFE_MS;
    try {
      for (const event of await file.read()) this.log.restore(event);
    } catch (error) {
      logger.warn('Events of before cannot be read', {}, error);
    }
    this.log.forgetBefore(sinceMs);
    const lastMs = this.log.list().at(-1)?.lastAtMs ?? sinceMs;
    for (const event of eventsOfObjects(view, lastMs)) {
      // Other clocks than this one may be ahead, so that what is known looks new.
      if (!this.log.knows(event)) this.log.record(event, Math.min(event.atMs, clock.nowMs()));
    }
    this.log.onEvent((event, key) => {
      this.#unwritten.set(key, event);
      this.#cancelTimer ??= clock.setTimer(WRITE_EVERY_MS, () => this.#write());
    });
    await this.#replaceFile();
  }

  #onChange(changes: readonly ViewChange[]): void {
    const { view, clock } = this.#modules;
    const nowMs = clock.nowMs();
    for (const change of changes) {
      for (const event of eventsOfChange(change, view)) this.log.record(event, nowMs);
    }
  }

  /** One write after the other; what cannot be written is not worth more than a warning. */
  #write(): void {
    this.#cancelTimer = undefined;
    if (this.#unwritten.size === 0) return;
    const events = [...this.#unwritten.values()];
    this.#unwritten.clear();
    const { file } = this.#modules;
    this.#writing = this.#writing.then(() =>
      this.#mustReplace || file.bytes > MAX_FILE_BYTES
        ? this.#replaceFile()
        : this.#guarded(() => file.append(events)),
    );
  }

  async #replaceFile(): Promise<void> {
    await this.#guarded(() => this.#modules.file.replace(this.log.list()));
  }

  /** After a failure nobody knows what is in the file, so the next write begins it anew. */
  async #guarded(write: () => Promise<void>): Promise<void> {
    try {
      await write();
      this.#mustReplace = false;
    } catch (error) {
      this.#mustReplace = true;
      this.#modules.logger.warn('Events cannot be written', {}, error);
    }
  }
}
