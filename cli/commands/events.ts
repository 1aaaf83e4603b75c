import { Option, type Command } from 'commander';
import { describeError, isKind } from '../../common/errors.js';
import { readStream } from '../../proto/wire/client.js';
import { withEngine } from '../engine-session.js';
import {
  EVENT_FILTER_HELP,
  eventFormat,
  isEventWanted,
  parseEventFilters,
  scopesOf,
  timeMsOf,
  type EventFormat,
  type Happened,
} from '../output/events.js';
import { note, print } from '../output/print.js';
import { withControl } from '../session.js';
import { collect, timeOption } from './options.js';

type EventFlags = EventFormat & { since?: number; until?: number; filter: string[] };

/** `hatoba system events`: what happens in the cluster and on this node. */
export function registerEvents(system: Command): void {
  system
    .command('events')
    .description('show what happens in the cluster and on this node, as it happens')
    .option('--since <time>', 'RFC 3339, or a duration before now such as 10m', timeOption)
    .option('--until <time>', 'RFC 3339, or a duration before now such as 10m', timeOption)
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['table', 'json'])
        .default('table'),
    )
    .option('--format <template>', 'print by a template, as docker: "{{.Action}} {{.Actor.ID}}"')
    .option('-f, --filter <key=value>', EVENT_FILTER_HELP, collect, [])
    .action((flags: EventFlags) => showEvents(flags));
}

/** From `sinceMs` on; with an `untilMs` that is over, no longer than it takes to list them. */
interface Span {
  sinceMs: number;
  untilMs: number | undefined;
}

async function showEvents(flags: EventFlags): Promise<void> {
  const filters = parseEventFilters(flags.filter);
  const show = eventFormat(flags);
  let sources = scopesOf(filters).map((scope) => SOURCES[scope]);
  const nowMs = Date.now();
  const { since: sinceMs = nowMs, until: untilMs = Infinity } = flags;
  if (sinceMs < nowMs) {
    const known: Happened[] = [];
    const span = { sinceMs, untilMs: Math.min(untilMs, nowMs) };
    sources = await readAll(sources, span, (happened) => known.push(happened));
    for (const happened of known.sort((a, b) => timeMsOf(a) - timeMsOf(b))) {
      if (isEventWanted(happened, filters)) print(show(happened));
    }
  }
  if (untilMs <= nowMs) return;
  const span = { sinceMs: nowMs, untilMs: untilMs === Infinity ? undefined : untilMs };
  await readAll(sources, span, (happened) => {
    if (isEventWanted(happened, filters)) print(show(happened));
  });
}

export type Source = (span: Span, onEvent: (happened: Happened) => void) => Promise<void>;

/**
 * Reads all sources at once. One that fails does not end the others: a node may have no manager, a
 * manager no agent.
 * @returns those that did not fail
 * @throws what the last one failed with, when all of them did
 */
export async function readAll(
  sources: readonly Source[],
  span: Span,
  onEvent: (happened: Happened) => void,
): Promise<Source[]> {
  const left = new Set(sources);
  await Promise.all(
    sources.map(async (read) => {
      try {
        await read(span, onEvent);
      } catch (error) {
        left.delete(read);
        if (left.size === 0 || isKind(error, 'cancelled')) throw error;
        note(`not all events are shown: ${describeError(error)}`);
      }
    }),
  );
  return [...left];
}

const SOURCES: Readonly<Record<Happened['scope'], Source>> = {
  node: ({ sinceMs, untilMs = 0 }, onEvent) =>
    withEngine(async ({ engine, signal }) => {
      for await (const event of readStream(engine.events({ sinceMs, untilMs }), signal)) {
        onEvent({ scope: 'node', event });
      }
    }),

  cluster: ({ sinceMs, untilMs = Infinity }, onEvent) =>
    withControl(async ({ control, signal }) => {
      const end = new AbortController();
      const follow = untilMs > Date.now();
      const cancel = follow ? at(untilMs, () => end.abort()) : (): void => undefined;
      const request = { kind: '', object: '', sinceMs, follow };
      const events = control.listEvents(request);
      try {
        for await (const event of readStream(events, AbortSignal.any([signal, end.signal]))) {
          if (event.lastAtMs < untilMs) onEvent({ scope: 'cluster', event });
        }
      } catch (error) {
        if (!end.signal.aborted || signal.aborted) throw error;
      } finally {
        cancel();
      }
    }),
};

const MAX_TIMER_MS = 2 ** 31 - 1;

/** Calls at that time, if that is not weeks away. @returns what cancels it */
function at(ms: number, call: () => void): () => void {
  const delayMs = ms - Date.now();
  if (delayMs > MAX_TIMER_MS) return () => undefined;
  const timer = setTimeout(call, delayMs);
  return () => {
    clearTimeout(timer);
  };
}
