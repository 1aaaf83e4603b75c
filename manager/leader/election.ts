import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import { LEADER_KEY } from '../store/keys.js';
import type { Entry, Guard, Lease, Store } from '../store/store.js';

/** What a manager has while it leads. */
export interface Leadership {
  /** Compared in every commit of a control loop: a deposed leader can write nothing. */
  readonly fence: Guard;
  /** Aborts when leadership ends, or may have ended. */
  readonly signal: AbortSignal;
}

export interface ElectionModules {
  store: Store;
  clock: Clock;
  random: Random;
  logger: Logger;
}

export interface ElectionOptions {
  nodeId: string;
  /** After this long without a sign of life another manager leads. Default 3 s, at least 2 s. */
  ttlMs?: number;
}

const TTL_MS = 3000;
const BACKOFF = { baseMs: 100, maxMs: 2000 };

/**
 * Elects one leader among the managers of a store: who creates the campaign key, bound to a lease,
 * leads until the key is gone.
 *
 * That another may lead already is known only to the store: by its own clock a manager can be late.
 * So this gives up early (by the time the last renewal was *sent*), and every write carries the
 * fence, which alone makes it safe.
 */
export class Election {
  readonly #modules: ElectionModules;
  readonly #nodeId: string;
  readonly #ttlMs: number;
  #current: Leadership | undefined;

  constructor(modules: ElectionModules, options: ElectionOptions) {
    this.#modules = modules;
    this.#nodeId = options.nodeId;
    this.#ttlMs = options.ttlMs ?? TTL_MS;
  }

  /** This manager's leadership, while it has it. */
  get current(): Leadership | undefined {
    return this.#current;
  }

  /**
   * Campaigns, leads, and campaigns again, until the signal aborts; then resigns, so that another
   * takes over at once.
   * @param lead runs while this manager leads, and is to return soon after its signal aborts; when
   * it returns or throws before that, this manager resigns
   */
  async run(lead: (leadership: Leadership) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#modules;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await this.#term(lead, signal);
        failures = 0;
      } catch (error) {
        if (isAborted(signal)) return;
        failures++;
        logger.warn('Election failed, will be repeated', { failures }, error);
      }
      const delayMs = backoffMs(Math.max(1, failures), BACKOFF, random);
      await sleep(clock, delayMs, signal).catch(() => undefined);
    }
  }

  /** From the wait for a free key to the end of leading. */
  async #term(lead: (l: Leadership) => Promise<void>, signal: AbortSignal): Promise<void> {
    await this.#waitForFreeKey(signal);
    const { store, clock } = this.#modules;
    const sentMs = clock.nowMs();
    const lease = await store.grantLease(this.#ttlMs);
    try {
      const revision = await this.#win(lease);
      if (revision !== undefined) await this.#lead(lead, { lease, revision, sentMs }, signal);
    } finally {
      await lease.revoke().catch((error: unknown) => {
        // it runs out by itself
        this.#modules.logger.debug('Lease could not be revoked', {}, error);
      });
    }
  }

  /** @returns the revision of the campaign key, or undefined when another was faster */
  async #win(lease: Lease): Promise<number | undefined> {
    const value = Buffer.from(this.#nodeId);
    try {
      return await this.#modules.store.commit({
        guards: [{ key: LEADER_KEY, revision: 0 }],
        puts: [{ key: LEADER_KEY, value, leaseId: lease.id }],
        deletes: [],
      });
    } catch (error) {
      if (isKind(error, 'conflict')) return undefined;
      throw error; // if it was applied after all, the key goes with the lease
    }
  }

  async #waitForFreeKey(signal: AbortSignal): Promise<void> {
    const { store } = this.#modules;
    for (;;) {
      signal.throwIfAborted();
      const entry = await store.get(LEADER_KEY);
      if (entry === undefined) return;
      if (Buffer.from(entry.value).toString() === this.#nodeId) await this.#removeOwn(entry);
      else await this.#untilGone(entry, signal);
    }
  }

  /** This node's key of a former process: its lease may live, its writer does not. */
  async #removeOwn({ revision }: Entry): Promise<void> {
    const guards = [{ key: LEADER_KEY, revision }];
    try {
      await this.#modules.store.commit({ guards, puts: [], deletes: [LEADER_KEY] });
    } catch (error) {
      if (!isKind(error, 'conflict')) throw error; // gone meanwhile
    }
  }

  async #untilGone(entry: Entry, signal: AbortSignal): Promise<void> {
    let onChange = (): void => undefined;
    const changed = new Promise<void>((resolve) => {
      onChange = resolve;
    });
    signal.addEventListener('abort', onChange, { once: true });
    const watch = await this.#modules.store.watch(LEADER_KEY, entry.revision, {
      onEvents: () => onChange(),
      onLost: () => onChange(), // the key is read again in any case
    });
    await changed;
    signal.removeEventListener('abort', onChange);
    await watch.close();
  }

  async #lead(
    lead: (leadership: Leadership) => Promise<void>,
    won: { lease: Lease; revision: number; sentMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { logger } = this.#modules;
    const fields = { nodeId: this.#nodeId, revision: won.revision };
    const end = new AbortController();
    const stop = (): void => end.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const fence: Guard = { key: LEADER_KEY, createRevision: won.revision };
    this.#current = { fence, signal: end.signal };
    logger.info('Became leader', fields);
    const renewing = this.#keep(won, end);
    try {
      await lead(this.#current);
    } finally {
      this.#current = undefined;
      end.abort();
      signal.removeEventListener('abort', stop);
      await renewing;
      logger.info('Stopped leading', fields);
    }
  }

  /** Renews the lease until `end` aborts, and aborts it when leadership may be over. Never rejects. */
  async #keep(
    won: { lease: Lease; revision: number; sentMs: number },
    end: AbortController,
  ): Promise<void> {
    const { clock, logger } = this.#modules;
    const { ttlMs } = won.lease;
    const lose = (reason: string): void => {
      if (end.signal.aborted) return;
      logger.warn('Lost leadership', { reason });
      end.abort(new Error(`leadership is lost: ${reason}`));
    };
    const onDeadline = (): void => lose(`no renewal for ${ttlMs} ms`);
    let cancel = clock.setTimer(won.sentMs + ttlMs - clock.nowMs(), onDeadline);
    while (!end.signal.aborted) {
      const sentMs = clock.nowMs();
      const outcome = await this.#renew(won);
      if (outcome === 'renewed') {
        cancel();
        if (!isAborted(end.signal))
          cancel = clock.setTimer(sentMs + ttlMs - clock.nowMs(), onDeadline);
      } else if (outcome !== 'unknown') {
        lose(outcome);
      }
      await sleep(clock, ttlMs / 3, end.signal).catch(() => undefined);
    }
    cancel();
  }

  async #renew(won: { lease: Lease; revision: number }): Promise<string> {
    const { store, logger } = this.#modules;
    try {
      await won.lease.renew();
      const entry = await store.get(LEADER_KEY);
      return entry?.revision === won.revision ? 'renewed' : 'the campaign key was taken away';
    } catch (error) {
      if (isKind(error, 'not-found')) return 'the lease ran out';
      logger.debug('Lease was not renewed', {}, error);
      return 'unknown';
    }
  }
}

/** A function, as the compiler takes a signal that was not aborted before an await for one after it. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
