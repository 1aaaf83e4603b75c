import type { LogOptions } from '../../proto/gen/hatoba/v1/agent.js';
import type { Containers } from '../executor/local-engine.js';

/** What of a container's log is asked for; 0 and absent have no bound. */
export function toLogOptions(options: LogOptions | undefined): Parameters<Containers['logs']>[1] {
  const { follow = false, sinceMs = 0, untilMs = 0, tail } = options ?? {};
  return {
    follow,
    ...(sinceMs > 0 ? { sinceMs } : {}),
    ...(untilMs > 0 ? { untilMs } : {}),
    ...(tail !== undefined && tail >= 0 ? { tail } : {}),
  };
}
