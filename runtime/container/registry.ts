import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { ContainerConfig, ContainerEvent } from '../engine.js';
import type { ContainerPaths } from './paths.js';
import { replaceRecord, toContainerState, writeStatus } from './record.js';
import type { ContainerEntry, ContainerStatus } from './record.js';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;

/**
 * The containers of this engine, in memory as on disk.
 * 1. A state is on disk before anybody is told of it, as long as the disk takes it. What a full disk
 *    refuses holds all the same: whoever opens the engine next finds a start or an exit out again,
 *    and without it no container could be stopped and removed to make room.
 * 2. created → running ⇄ paused → exited | restarting → running …
 * 3. A name belongs to one container at a time, also to one that is still being made.
 */
export class ContainerRegistry {
  readonly #paths: ContainerPaths;
  readonly #log: Logger;
  readonly #entries = new Map<string, ContainerEntry>();
  readonly #idByName = new Map<string, string>();
  readonly #listeners = new Set<(event: ContainerEvent) => void>();

  constructor(paths: ContainerPaths, log: Logger) {
    this.#paths = paths;
    this.#log = log;
  }

  /** Takes up a container whose record and status are on disk already. */
  add(entry: ContainerEntry): void {
    const { id, name } = entry.record.config;
    this.#entries.set(id, entry);
    this.#idByName.set(name, id);
  }

  /** Tells of a container that was just made. */
  announce(id: string): void {
    this.#emit({ id, type: 'created', state: toContainerState(this.mustGet(id)) });
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

  /**
   * By id, name, or the unique start of an id, in this order.
   * @throws {HatobaError} not-found; invalid-argument when several ids start so
   */
  find(nameOrId: string): ContainerEntry {
    const exact = this.#entries.get(nameOrId) ?? this.#byName(nameOrId);
    if (exact !== undefined) return exact;
    const ids = nameOrId === '' ? [] : this.#idsFrom(nameOrId);
    const [id] = ids;
    if (id === undefined) {
      throw new HatobaError('not-found', `there is no container "${nameOrId}" on this machine`);
    }
    if (ids.length === 1) return this.mustGet(id);
    throw new HatobaError(
      'invalid-argument',
      `"${nameOrId}" is the start of ${ids.length} containers' ids; write more of it`,
    );
  }

  list(): readonly ContainerEntry[] {
    return [...this.#entries.values()];
  }

  /**
   * Keeps a name for a container that is being made, or renamed.
   * @throws {HatobaError} invalid-argument; already-exists naming who has it
   */
  takeName(name: string, id: string): void {
    if (!NAME.test(name)) {
      throw new HatobaError(
        'invalid-argument',
        `"${name}" cannot be a container's name: it takes letters, digits, "_", "." and "-"`,
      );
    }
    const owner = this.#idByName.get(name);
    if (owner !== undefined && owner !== id) {
      throw new HatobaError(
        'already-exists',
        `the name "${name}" is in use by container ${owner}; remove or rename that one first`,
      );
    }
    this.#idByName.set(name, id);
  }

  /** Gives a name back whose container was not made after all. */
  freeName(name: string, id: string): void {
    if (this.#idByName.get(name) === id) this.#idByName.delete(name);
  }

  /** Changes the status of a container and tells of it; nothing happens to one that is gone. */
  update(id: string, change: Partial<ContainerStatus>, type: ContainerEvent['type']): void {
    const next = this.note(id, change);
    if (next !== undefined) this.#emit({ id, type, state: toContainerState(next) });
  }

  /** As update, for what only the engine itself wants to know after a restart. */
  note(id: string, change: Partial<ContainerStatus>): ContainerEntry | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    const next: ContainerEntry = { record: entry.record, status: { ...entry.status, ...change } };
    try {
      writeStatus(this.#paths.of(id), next.status);
    } catch (error) {
      this.#log.error('Writing the state of a container failed', { containerId: id }, error);
    }
    this.#entries.set(id, next);
    return next;
  }

  /**
   * Changes what a container is made from, and tells of it once it is on disk.
   * @throws {HatobaError} as takeName, for another name; the system's when the disk refuses
   */
  updateConfig(
    id: string,
    change: Partial<ContainerConfig>,
    type: Extract<ContainerEvent['type'], 'renamed' | 'updated'>,
  ): void {
    const { record, status } = this.mustGet(id);
    const config = { ...record.config, ...change };
    this.takeName(config.name, id);
    const next: ContainerEntry = { record: { ...record, config }, status };
    try {
      replaceRecord(this.#paths.of(id), next.record);
    } catch (error) {
      if (config.name !== record.config.name) this.freeName(config.name, id);
      throw error;
    }
    if (config.name !== record.config.name) this.freeName(record.config.name, id);
    this.#entries.set(id, next);
    this.#emit({ id, type, state: toContainerState(next) });
  }

  /** Forgets a container whose folder is gone, and tells of it. */
  delete(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.freeName(entry.record.config.name, id);
    this.#emit({ id, type: 'removed', state: toContainerState(entry) });
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #byName(name: string): ContainerEntry | undefined {
    const id = this.#idByName.get(name);
    return id === undefined ? undefined : this.#entries.get(id);
  }

  #idsFrom(prefix: string): string[] {
    return [...this.#entries.keys()].filter((id) => id.startsWith(prefix));
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
