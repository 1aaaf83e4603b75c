/** How long a resolver that failed is asked last, until one question tries it again. */
const RETRY_MS = 10_000;
/** A resolver that has been silent for so long, while it was asked, has failed. */
const SILENCE_MS = 1000;
const MAX_KNOWN = 256;

interface Health {
  /** When it last answered anything; 0: never. */
  answeredMs: number;
  /** Since when it has left questions without an answer. */
  silentSinceMs?: number;
  /** It has failed; from then on one question may try it again. */
  retryAtMs?: number;
}

/**
 * Which resolvers answer. A question that is lost or slow does not make a resolver a failed one, as
 * long as it answers others.
 */
export class UpstreamHealth {
  readonly #known = new Map<string, Health>();

  /** The resolvers in the order in which to ask them: as given, but those that failed come last. */
  order(upstreams: readonly string[], nowMs: number): string[] {
    const first: string[] = [];
    const last: string[] = [];
    for (const upstream of new Set(upstreams)) {
      const retryAtMs = this.#known.get(upstream)?.retryAtMs;
      if (retryAtMs === undefined || retryAtMs <= nowMs) first.push(upstream);
      else last.push(upstream);
      // the questions after this one keep away until this one knows more
      if (retryAtMs !== undefined && retryAtMs <= nowMs) this.failed(upstream, nowMs);
    }
    return [...first, ...last];
  }

  answered(upstream: string, nowMs: number): void {
    this.#put(upstream, { answeredMs: nowMs });
  }

  /** It refused the connection, or cannot be reached. */
  failed(upstream: string, nowMs: number): void {
    const answeredMs = this.#known.get(upstream)?.answeredMs ?? 0;
    this.#put(upstream, { answeredMs, retryAtMs: nowMs + RETRY_MS });
  }

  /** A question of `askedMs` is over without its answer. */
  stayedSilent(upstream: string, askedMs: number, nowMs: number): void {
    const health = this.#known.get(upstream) ?? { answeredMs: 0 };
    if (health.answeredMs >= askedMs || health.retryAtMs !== undefined) return;
    const silentSinceMs = health.silentSinceMs ?? askedMs;
    if (nowMs - silentSinceMs >= SILENCE_MS) this.failed(upstream, nowMs);
    else this.#put(upstream, { ...health, silentSinceMs });
  }

  /** The one that was heard of least lately is forgotten when there are too many. */
  #put(upstream: string, health: Health): void {
    this.#known.delete(upstream);
    this.#known.set(upstream, health);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }
}
