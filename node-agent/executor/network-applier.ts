import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { describeError, isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Task } from '../../common/model/objects.js';
import type { Random } from '../../common/random.js';
import type { NetworkDriver, NetworkState } from '../../overlay-net/driver.js';

const RETRY = { baseMs: 200, maxMs: 5000 } as const;

export interface NetworkApplierModules {
  readonly driver: Pick<NetworkDriver, 'apply'>;
  /** Keeps a state on disk before it comes into force; must not throw. */
  readonly keep: (wanted: { revision: number; state: NetworkState }) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The networks in force, or the reason why newer ones are not, have changed. */
  readonly onChange: () => void;
}

interface Wanted {
  readonly revision: number;
  readonly state: NetworkState;
}

/**
 * Brings the newest network state to the driver, one call at a time: states that arrive during a
 * call are skipped but for the last. A state that fails is tried again until it works or a newer
 * one comes.
 */
export class NetworkApplier implements AsyncDisposable {
  readonly #modules: NetworkApplierModules;
  readonly #stop = new AbortController();
  #wanted: Wanted | undefined;
  #appliedNetworks: ReadonlyMap<string, string> = new Map();
  #appliedRevision = 0;
  #error = '';
  #newer = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(modules: NetworkApplierModules) {
    this.#modules = modules;
  }

  /** Store revision of the newest assignments whose network part is in force; 0 before the first. */
  get appliedRevision(): number {
    return this.#appliedRevision;
  }

  /** Asks for `state`. */
  apply(revision: number, state: NetworkState): void {
    this.#wanted = { revision, state };
    this.#newer.abort();
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
    });
  }

  /** Assignments whose network part is that of the state before them. */
  confirm(revision: number): void {
    if (this.#wanted === undefined) this.#appliedRevision = revision;
    else this.#wanted = { ...this.#wanted, revision };
  }

  /** Why the networks of `task` cannot be used yet, for people; empty when they can. */
  waitOf(task: Task): string {
    const missing = task.networksAttachments.filter((a) => !this.#appliedNetworks.has(a.networkId));
    if (missing.length === 0) return '';
    const names = missing.map((a) => `"${a.networkName}"`).join(', ');
    return this.#error === ''
      ? `waiting for network ${names} on this node`
      : `waiting for network ${names} on this node: ${this.#error}`;
  }

  /** Driver of an applied network ("overlay", "bridge", "host", "none"). */
  driverOf(networkId: string): string | undefined {
    return this.#appliedNetworks.get(networkId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#newer.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    let attempt = 0;
    while (this.#wanted !== undefined && !this.#stop.signal.aborted) {
      const wanted = this.#wanted;
      this.#newer = new AbortController();
      this.#forgetOthers(wanted.state);
      try {
        await this.#modules.keep(wanted);
        await this.#modules.driver.apply(wanted.state);
        attempt = 0;
        this.#applied(wanted);
      } catch (error) {
        attempt++;
        this.#failed(error);
        await this.#pause(attempt);
      }
    }
  }

  /**
   * What the driver is about to take away cannot be used any more, though it may be asked for again
   * by the time the driver is done.
   */
  #forgetOthers({ networks }: NetworkState): void {
    const staying = new Set(networks.map((n) => n.networkId));
    this.#appliedNetworks = new Map([...this.#appliedNetworks].filter(([id]) => staying.has(id)));
  }

  #applied({ state, revision }: Wanted): void {
    const { onChange, log } = this.#modules;
    this.#error = '';
    this.#appliedNetworks = new Map(state.networks.map((n) => [n.networkId, n.driver]));
    if (this.#wanted?.state === state) {
      this.#appliedRevision = this.#wanted.revision; // confirm() may have raised it meanwhile
      this.#wanted = undefined;
    } else {
      this.#appliedRevision = revision;
    }
    log.debug('Applied network state', { revision: this.#appliedRevision });
    onChange();
  }

  #failed(error: unknown): void {
    const { log, onChange } = this.#modules;
    log.warn('Could not apply the network state', { revision: this.#wanted?.revision }, error);
    this.#error = describeError(error);
    onChange();
  }

  async #pause(attempt: number): Promise<void> {
    const { clock, random } = this.#modules;
    try {
      await sleep(clock, backoffMs(attempt, RETRY, random), this.#newer.signal);
    } catch (error) {
      if (!isKind(error, 'cancelled')) throw error;
    }
  }
}
