import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Clients } from '../dns/clients.js';
import type { SandboxConfig } from '../driver.js';
import { readJson, writeJson } from '../json-file.js';

/** A sandbox that is complete. */
export interface SandboxRecord {
  config: SandboxConfig;
  nameservers: readonly string[];
  /** Its address for host-mode ports: on the network of the default route. Empty: it has none. */
  hostPortAddress: string;
  /**
   * The host's ends of its links, in the order of the attachments; "" for one whose name is not
   * known. Absent in records of former versions.
   */
  hostLinks?: readonly string[];
}

/** The sandboxes of this node, one small file each, so that a later process knows them. */
export class SandboxStore {
  readonly #folder: string;
  readonly #records = new Map<string, SandboxRecord>();
  /** Who asks for names, by address. */
  readonly clients = new Clients();

  /** @param stateDir holds the folder "sandboxes" */
  constructor(stateDir: string) {
    this.#folder = join(stateDir, 'sandboxes');
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    for (const file of readdirSync(this.#folder)) {
      const record = file.endsWith('.json') ? readJson(join(this.#folder, file)) : undefined;
      // written by this class alone; a file cut short by a power loss is none
      if (record !== undefined) this.#take(record as SandboxRecord);
      else rmSync(join(this.#folder, file), { force: true });
    }
  }

  get(id: string): SandboxRecord | undefined {
    return this.#records.get(id);
  }

  all(): SandboxRecord[] {
    return [...this.#records.values()];
  }

  put(record: SandboxRecord): void {
    writeJson(this.#path(record.config.id), record);
    this.#take(record);
  }

  delete(id: string): void {
    this.#forget(id);
    rmSync(this.#path(id), { force: true });
  }

  #take(record: SandboxRecord): void {
    this.#forget(record.config.id);
    this.#records.set(record.config.id, record);
    this.clients.add(record.config);
  }

  #forget(id: string): void {
    const record = this.#records.get(id);
    if (record !== undefined) this.clients.remove(record.config);
    this.#records.delete(id);
  }

  #path(id: string): string {
    return join(this.#folder, `${id}.json`);
  }
}
