import type { Command } from 'commander';
import type {
  ContainerStatsResponse,
  ContainerUpdateRequest,
} from '../../proto/gen/hatoba/v1/engine.js';
import { readStream, unary } from '../../proto/wire/client.js';
import { withEngine, type EngineSession } from '../engine-session.js';
import { UsageError } from '../failure.js';
import { addLimitOptions, toLimit, type LimitFlags } from '../limits.js';
import { formatListing } from '../output/listing.js';
import { print } from '../output/print.js';
import { PROCESSES, processRow, STATS, statsRow } from '../output/stats-rows.js';
import { parseRestart } from '../words/container.js';
import { each } from './container-life.js';
import { asListing, type ListingOptions } from './options.js';

/** A rate needs two samples; between them for one that is shown alone. */
const SINGLE_INTERVAL_MS = 500;
const CLEAR_SCREEN = '\x1b[2J';
const CURSOR_HOME = '\x1b[H';
const CLEAR_LINE_END = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

interface StatsFlags extends ListingOptions {
  all: boolean;
  stream: boolean;
}
type UpdateFlags = LimitFlags & { restart?: string };

/** `hatoba stats|top|update`. */
export function registerContainerStats(program: Command): void {
  asListing(
    program
      .command('stats [container...]')
      .description('show live what containers use')
      .option('-a, --all', 'also those that do not run', false)
      .option('--no-stream', 'only once'),
  ).action((names: string[], flags: StatsFlags) =>
    withEngine((session) => showStats(session, names, flags)),
  );

  asListing(
    program.command('top <container>').description('list the processes of a container'),
  ).action((container: string, flags: ListingOptions) =>
    withEngine(async ({ engine, signal }) => {
      const { processes } = await unary(
        engine.containerTop.bind(engine),
        { container },
        { signal },
      );
      print(formatListing(processes.map(processRow), PROCESSES, flags));
    }),
  );

  addLimitOptions(
    program
      .command('update <container...>')
      .description('change what containers may use, also while they run'),
  )
    .option('--restart <rule>', 'no, on-failure[:times], unless-stopped or always')
    .action((names: string[], flags: UpdateFlags) => {
      if (Object.keys(flags).length === 0) throw new UsageError('no flag says what to change');
      return each(names, (session, name) => update(session, name, flags));
    });
}

async function showStats(
  { engine, signal }: EngineSession,
  names: readonly string[],
  flags: StatsFlags,
): Promise<void> {
  const containers =
    flags.all && names.length === 0 ? await allNames({ engine, signal }) : [...names];
  // With none at all, an empty list would mean those that run.
  if (flags.all && containers.length === 0) {
    print(formatStats({ stats: [] }, flags));
    return;
  }
  const intervalMs = flags.stream ? 0 : SINGLE_INTERVAL_MS;
  const call = engine.containerStats({ containers, stream: true, intervalMs });
  const screen = openScreen(flags);
  let hasRates = false;
  for await (const response of readStream(call, signal)) {
    if (flags.stream || hasRates) screen(response);
    if (!flags.stream && hasRates) break;
    hasRates = true;
  }
}

async function allNames({
  engine,
  signal,
}: Pick<EngineSession, 'engine' | 'signal'>): Promise<string[]> {
  const request = { all: true, size: false };
  const { containers } = await unary(engine.containerList.bind(engine), request, { signal });
  return containers.map(({ id }) => id);
}

/** Shows one sample after the other: in place on a terminal, one below the other elsewhere. */
function openScreen(flags: StatsFlags): (response: ContainerStatsResponse) => void {
  const isLive = flags.stream && flags.output === 'table' && process.stdout.isTTY;
  if (!isLive) {
    return (response) => {
      print(formatStats(response, flags));
    };
  }
  process.stdout.write(CLEAR_SCREEN);
  return (response) => {
    // Some terminals do not know how large they are, and say 0.
    const { rows, columns } = process.stdout;
    const width = columns > 0 ? columns : undefined;
    const lines = formatStats(response, flags)
      .split('\n')
      .slice(0, rows > 1 ? rows - 1 : undefined);
    const text = lines.map((line) => `${line.slice(0, width)}${CLEAR_LINE_END}\n`).join('');
    process.stdout.write(`${CURSOR_HOME}${text}${CLEAR_BELOW}`);
  };
}

/** In a stream of JSON, each sample is one line. */
function formatStats({ stats }: ContainerStatsResponse, flags: StatsFlags): string {
  const text = formatListing(stats.map(statsRow), STATS, flags);
  return flags.stream && flags.output === 'json' ? JSON.stringify(JSON.parse(text)) : text;
}

async function update(
  { engine, signal }: EngineSession,
  container: string,
  { restart, ...limits }: UpdateFlags,
): Promise<unknown> {
  const request: ContainerUpdateRequest = {
    container,
    limits: undefined,
    restartPolicy: restart === undefined ? undefined : parseRestart(restart),
  };
  if (Object.keys(limits).length > 0) {
    const asked = { container, size: false };
    const before = await unary(engine.containerInspect.bind(engine), asked, { signal });
    request.limits = toLimit(limits, before.limits);
  }
  return unary(engine.containerUpdate.bind(engine), request, { signal });
}
