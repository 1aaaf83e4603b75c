import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { ContainerEvent } from '../engine.js';
import type { ContainerPaths } from './paths.js';
import { toContainerState, writeStatus } from './record.js';
import type { ContainerEntry, ContainerStatus } from './record.js';

/**
 * The containers of this engine, in memory as on disk.
 * 1. A state is on disk before anybody is told of it, as long as the disk takes it. What a full disk
 *    refuses holds all the same: whoever opens the engine next finds a start or an exit out again,
 *    and without it no container could be stopped and removed to make room.
 * 2. Status only moves created → running → exited.
 */
export class ContainerRegistry {
  readonly #paths: ContainerPaths;
  readonly #log: Logger;
  readonly #entries = new Map<string, ContainerEntry>();
  readonly #listeners = new Set<(event: ContainerEvent) => void>();

  constructor(paths: ContainerPaths, log: Logger) {
    this.#paths = paths;
    this.#log = log;
  }

  /** Takes up a container whose record and status are on disk already. */
  add(entry: ContainerEntry): void {
    this.#entries.set(entry.record.config.id, entry);
  }

  get(id: string): ContainerEntry | undefined {
    return this.#entries.get(id);
  }

  /** @throws {HatobaError} not-found */
  mustGet(id: string): ContainerEntry {
    const entry = this.#entries.get(id);
    if (entry === undefined) {
      throw new HatobaError('not-found', `there is no container ${id} on this machine`);
    }
    return entry;
  }

  list(): readonly ContainerEntry[] {
    return [...this.#entries.values()];
  }

  /** Changes the status of a container and tells of it; nothing happens to one that is gone. */
  update(id: string, change: Partial<ContainerStatus>, type: ContainerEvent['type']): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    const next: ContainerEntry = { record: entry.record, status: { ...entry.status, ...change } };
    try {
      writeStatus(this.#paths.of(id), next.status);
    } catch (error) {
      this.#log.error('Writing the state of a container failed', { containerId: id }, error);
    }
    this.#entries.set(id, next);
    this.#emit({ id, type, state: toContainerState(next) });
  }

  /** Forgets a container whose folder is gone. */
  delete(id: string): void {
    this.#entries.delete(id);
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #emit(event: ContainerEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        // A listener that fails must not keep the others from hearing, nor stop the container.
        this.#log.error('Listener of container events failed', { containerId: event.id }, error);
      }
    }
  }
}
