import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { replaceFile } from '../state/atomic-file.js';

/**
 * Where the managers are: what the managers last told, then what the configuration says. Kept on
 * disk as a JSON array of "host:port", so that a restarted agent finds a cluster whose managers
 * have all moved since it joined.
 */
export class ManagerList {
  readonly #path: string;
  readonly #configured: readonly string[];
  readonly #log: Logger;
  #learned: readonly string[] = [];

  constructor(options: { path: string; configured: readonly string[] }, modules: { log: Logger }) {
    this.#path = options.path;
    this.#configured = options.configured;
    this.#log = modules.log;
  }

  async load(): Promise<void> {
    try {
      const parsed: unknown = JSON.parse(await readFile(this.#path, 'utf8'));
      if (Array.isArray(parsed)) this.#learned = parsed.filter(isManagerAddress);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      this.#log.warn('Could not read the list of managers', { path: this.#path }, error);
    }
  }

  addresses(): string[] {
    return [...new Set([...this.#learned, ...this.#configured])];
  }

  /** Takes over what a manager tells; an empty list says nothing. */
  async learn(addresses: readonly string[]): Promise<void> {
    const valid = addresses.filter(isManagerAddress);
    if (valid.length === 0 || valid.join() === this.#learned.join()) return;
    this.#learned = valid;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await replaceFile(this.#path, JSON.stringify(valid));
    } catch (error) {
      this.#log.warn('Could not keep the list of managers', { path: this.#path }, error);
    }
  }
}

/** "10.0.0.1:4400", "manager.example:4400", "[fd00::1]:4400" */
export function isManagerAddress(address: unknown): address is string {
  if (typeof address !== 'string') return false;
  const port = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:[\]/]+):(\d{1,5})$/.exec(address)?.[1];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}
