import { sleep, type Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import {
  ContainerStats,
  type ContainerStatsRequest,
  type ContainerStatsResponse,
} from '../../proto/gen/hatoba/v1/engine.js';
import type { CallContext } from '../../proto/wire/service.js';
import type { Containers } from '../../runtime/engine.js';
import type { EngineMethods } from './engine-methods.js';

const DEFAULT_INTERVAL_MS = 1000;
const MIN_INTERVAL_MS = 100;
const MAX_INTERVAL_MS = 60_000;

type Sampled = Pick<Containers, 'find' | 'get' | 'list' | 'stats' | 'top'>;
interface StatsModules {
  readonly engine: { readonly containers: Sampled };
  readonly clock: Clock;
}

/** What containers use, and their processes. */
export function statsMethods(
  modules: StatsModules,
): EngineMethods<'containerTop' | 'containerStats'> {
  const { containers } = modules.engine;
  return {
    async containerTop({ container }) {
      const { config, status } = containers.find(container);
      if (status !== 'running' && status !== 'paused') {
        throw new HatobaError(
          'failed-precondition',
          `container ${config.name} is not running (${status})`,
        );
      }
      return { processes: await containers.top(config.id) };
    },
    containerStats: (request, context) => sampleAll(modules, request, context),
  };
}

/** A sample of all at once, again and again; the first is there at once, without rates. */
async function* sampleAll(
  { engine: { containers }, clock }: StatsModules,
  request: ContainerStatsRequest,
  { signal }: CallContext,
): AsyncGenerator<ContainerStatsResponse, void, undefined> {
  const named = request.containers.map((name) => containers.find(name).config.id);
  const intervalMs = checkInterval(request.intervalMs);
  let before: ReadonlyMap<string, ContainerStats> = new Map();
  for (;;) {
    const ids = named.length > 0 ? named : runningIds(containers);
    const samples: ContainerStats[] = [];
    for (const id of ids) samples.push(...(await sampleOne(containers, id, clock.nowMs())));
    yield { stats: samples.map((sample) => withRate(sample, before.get(sample.containerId))) };
    if (!request.stream) return;
    before = new Map(samples.map((sample) => [sample.containerId, sample]));
    await sleep(clock, intervalMs, signal);
  }
}

/** Nothing of one that is gone; zeros for one that was named and does not run. */
async function sampleOne(
  containers: Sampled,
  id: string,
  readAtMs: number,
): Promise<readonly ContainerStats[]> {
  const state = containers.get(id);
  if (state === undefined) return [];
  const { name } = state.config;
  const idle = ContainerStats.fromPartial({ containerId: id, name, readAtMs });
  return [(await containers.stats(id)) ?? idle];
}

function runningIds(containers: Sampled): readonly string[] {
  return containers
    .list()
    .filter(({ status }) => status === 'running' || status === 'paused')
    .map(({ config }) => config.id);
}

/** A counter that fell is another run's: there is no rate yet. */
function withRate(now: ContainerStats, before: ContainerStats | undefined): ContainerStats {
  const wallMs = now.readAtMs - (before?.readAtMs ?? now.readAtMs);
  const usedNs = now.cpuTotalNs - (before?.cpuTotalNs ?? 0);
  return wallMs <= 0 || usedNs < 0 ? now : { ...now, cpuCores: usedNs / 1e6 / wallMs };
}

function checkInterval(asked: number): number {
  const intervalMs = asked === 0 ? DEFAULT_INTERVAL_MS : asked;
  if (intervalMs >= MIN_INTERVAL_MS && intervalMs <= MAX_INTERVAL_MS) return intervalMs;
  throw new HatobaError(
    'invalid-argument',
    `an interval of ${asked} ms is out of range: ${MIN_INTERVAL_MS} to ${MAX_INTERVAL_MS} are allowed`,
  );
}
