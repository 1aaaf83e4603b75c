import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { UpstreamHealth } from '../core/upstream-health.js';
import type { Exchange, Transport } from './exchange.js';
import type { Query } from './query.js';
import { HEADER_BYTES, RCODE } from './wire.js';

/** So long the next resolver is not asked yet. */
const HEDGE_MS = 300;
/** For a resolver to answer; the resolver library of the asker has 5 s. */
const TIMEOUT_MS = 3000;

export interface ForeignQuestionModules {
  clock: Clock;
  health: UpstreamHealth;
  exchange: Exchange;
}

interface Attempt {
  upstream: string;
  askedMs: number;
  cancelTimeout: () => void;
  close: () => void;
}

/**
 * One question to several resolvers: the first is asked; the next one when 300 ms have passed, or at
 * once when the one before could not be asked or knows no help. The first real answer counts.
 */
export class ForeignQuestion {
  readonly #query: Query;
  readonly #to: { port: number; transport: Transport };
  readonly #modules: ForeignQuestionModules;
  #waiting: string[];
  readonly #open = new Set<Attempt>();
  #cancelHedge: () => void = () => undefined;
  /** What a resolver that knows no help said. */
  #refusal: Buffer | undefined;
  readonly #errors: Error[] = [];
  #resolve: (answer: Buffer) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  /** @param upstreams in the order in which to ask; one that is there twice is asked twice */
  constructor(
    query: Query,
    upstreams: readonly string[],
    to: { port: number; transport: Transport },
    modules: ForeignQuestionModules,
  ) {
    this.#query = query;
    this.#waiting = [...upstreams];
    this.#to = to;
    this.#modules = modules;
  }

  /** @throws {HatobaError} unavailable when none answers */
  answer(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#askNext();
    });
  }

  #askNext(): void {
    this.#cancelHedge();
    const upstream = this.#waiting.shift();
    if (upstream !== undefined) this.#ask(upstream);
    else if (this.#open.size === 0) this.#giveUp();
  }

  #ask(upstream: string): void {
    const { clock, exchange } = this.#modules;
    const attempt: Attempt = {
      upstream,
      askedMs: clock.nowMs(),
      cancelTimeout: clock.setTimer(TIMEOUT_MS, () => this.#onTimeout(attempt)),
      close: () => undefined,
    };
    this.#open.add(attempt);
    if (this.#waiting.length > 0) {
      this.#cancelHedge = clock.setTimer(HEDGE_MS, () => this.#askNext());
    }
    attempt.close = exchange({ address: upstream, ...this.#to }, this.#query.message, {
      onMessage: (message) => this.#onMessage(attempt, message),
      onError: (error) => this.#onError(attempt, error),
    });
    if (!this.#open.has(attempt)) attempt.close(); // it failed before it could be closed
  }

  #onMessage(attempt: Attempt, message: Buffer): void {
    const { clock, health } = this.#modules;
    if (!this.#open.has(attempt) || !isAnswerTo(this.#query, message)) return;
    health.answered(attempt.upstream, clock.nowMs());
    this.#end(attempt);
    if (isRefusal(message)) {
      this.#refusal ??= message;
      this.#leaveOut(attempt.upstream);
      this.#askNext();
    } else {
      this.#cancelHedge();
      for (const other of this.#open) this.#abandon(other);
      this.#resolve(message);
    }
  }

  #onError(attempt: Attempt, error: Error): void {
    if (!this.#open.has(attempt)) return;
    this.#modules.health.failed(attempt.upstream, this.#modules.clock.nowMs());
    this.#errors.push(error);
    this.#end(attempt);
    this.#leaveOut(attempt.upstream);
    this.#askNext();
  }

  #onTimeout(attempt: Attempt): void {
    const { upstream } = attempt;
    this.#errors.push(new HatobaError('deadline', `DNS resolver ${upstream} did not answer`));
    this.#abandon(attempt);
    this.#askNext();
  }

  #abandon(attempt: Attempt): void {
    const { clock, health } = this.#modules;
    const nowMs = clock.nowMs();
    if (nowMs - attempt.askedMs >= HEDGE_MS) {
      health.stayedSilent(attempt.upstream, attempt.askedMs, nowMs);
    }
    this.#end(attempt);
  }

  #end(attempt: Attempt): void {
    this.#open.delete(attempt);
    attempt.cancelTimeout();
    attempt.close();
  }

  #leaveOut(upstream: string): void {
    this.#waiting = this.#waiting.filter((u) => u !== upstream);
  }

  #giveUp(): void {
    if (this.#refusal !== undefined) return this.#resolve(this.#refusal);
    this.#reject(
      new HatobaError('unavailable', 'no DNS resolver answered', {
        cause: new AggregateError(this.#errors),
      }),
    );
  }
}

/** A response of the same id to the same question; errors may come without the question. */
function isAnswerTo({ message, questionEnd }: Query, answer: Buffer): boolean {
  const isResponse =
    answer.length >= HEADER_BYTES &&
    answer.readUInt16BE(0) === message.readUInt16BE(0) &&
    ((answer[2] ?? 0) & 0x80) !== 0;
  if (!isResponse) return false;
  if (answer.readUInt16BE(4) === 0) return rcodeOf(answer) !== RCODE.ok;
  // a resolver may change the case of letters
  const asked = message.toString('latin1', HEADER_BYTES, questionEnd).toLowerCase();
  return answer.toString('latin1', HEADER_BYTES, questionEnd).toLowerCase() === asked;
}

/** Another resolver may know more. */
function isRefusal(answer: Buffer): boolean {
  return rcodeOf(answer) === RCODE.serverFailure || rcodeOf(answer) === RCODE.refused;
}

function rcodeOf(answer: Buffer): number {
  return (answer[3] ?? 0) & 15;
}
