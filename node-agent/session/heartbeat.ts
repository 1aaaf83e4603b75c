import { Alarm } from '../../common/alarm.js';
import { sleep, type Clock } from '../../common/clock.js';
import { isRetryable } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { DescriptionWatch } from './description-watch.js';
import type { Dispatcher } from './dispatcher.js';

export interface HeartbeatModules {
  readonly dispatcher: Pick<Dispatcher, 'heartbeat'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Store revision of the assignments whose network part is in force on this node. */
  readonly appliedNetworkRevision: () => number;
  /** What has changed of this node. */
  readonly description: Pick<DescriptionWatch, 'news' | 'onTold'>;
}

const DEFAULT_PERIOD_MS = 1000;
const MIN_PERIOD_MS = 50;
const MAX_PERIOD_MS = 60_000;
/** Least time between two heartbeats, however much there is to tell. */
const MIN_GAP_MS = 20;
const LEAVE_TIMEOUT_MS = 1000;
/** Lost heartbeats after which another manager is tried. */
const MAX_FAILURES = 2;

/**
 * Tells the manager of one session that this node lives, at the period the manager asks for, and
 * at once when the applied network revision has changed: managers wait for it before they stop a
 * task. It waits for nothing else that the agent does.
 */
export class Heartbeat {
  readonly #modules: HeartbeatModules;
  readonly #sessionId: string;
  #periodMs: number;
  readonly #alarm: Alarm;
  #isLeaving = false;

  constructor(options: { sessionId: string; periodMs: number }, modules: HeartbeatModules) {
    this.#sessionId = options.sessionId;
    this.#periodMs = clampPeriod(options.periodMs);
    this.#modules = modules;
    this.#alarm = new Alarm(modules.clock);
  }

  /** The next one goes at once. */
  hurry(): void {
    this.#alarm.ring();
  }

  /**
   * Tells the manager that this agent ends and its containers go on. To be called before the signal
   * of run() aborts; no later heartbeat takes it back.
   * @throws when the manager cannot be told; the node then counts as down
   */
  async leave(signal: AbortSignal): Promise<void> {
    this.#isLeaving = true;
    await this.#send(signal, LEAVE_TIMEOUT_MS);
  }

  /** @throws when the session cannot go on; the signal's reason */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, log } = this.#modules;
    let failures = 0;
    for (;;) {
      const startedAtMs = clock.nowMs();
      this.#alarm.clear();
      try {
        await this.#send(signal, Math.max(this.#periodMs, DEFAULT_PERIOD_MS));
        failures = 0;
      } catch (error) {
        failures++;
        if (!isRetryable(error) || failures >= MAX_FAILURES) throw error;
        log.warn('Lost a heartbeat', {}, error);
      }
      const spentMs = (): number => Math.max(0, clock.nowMs() - startedAtMs); // clocks are set back
      if (spentMs() < MIN_GAP_MS) await sleep(clock, MIN_GAP_MS - spentMs(), signal);
      await this.#alarm.sleep(this.#periodMs - spentMs(), signal);
    }
  }

  async #send(signal: AbortSignal, timeoutMs: number): Promise<void> {
    const { dispatcher, appliedNetworkRevision, description } = this.#modules;
    const { news } = description;
    const request = {
      sessionId: this.#sessionId,
      appliedNetworkRevision: appliedNetworkRevision(),
      ...(this.#isLeaving ? { leaving: true } : {}),
      ...(news === undefined ? {} : { description: news }),
    };
    const { periodMs } = await dispatcher.heartbeat(request, { timeoutMs, signal });
    if (news !== undefined) description.onTold(news);
    this.#periodMs = clampPeriod(periodMs);
  }
}

function clampPeriod(periodMs: number): number {
  if (!(periodMs > 0)) return DEFAULT_PERIOD_MS;
  return Math.min(MAX_PERIOD_MS, Math.max(MIN_PERIOD_MS, periodMs));
}
