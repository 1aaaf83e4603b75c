import { InvalidArgumentError, Option, type Command } from 'commander';
import { describeError } from '../../common/errors.js';
import { parseDurationMs } from '../../common/duration.js';
import { UsageError } from '../failure.js';
import type { ListingOptions, OutputFormat } from '../output/listing.js';

/** Flags that several commands share, so that they are the same everywhere. */

/** Adds -o, --format, -q and --filter, the flags of every listing. */
export function asListing(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['table', 'json', 'yaml', 'wide'])
        .default('table'),
    )
    .option('--format <template>', 'print by a template, as docker: "{{.Name}}", "table …", json')
    .option('-q, --quiet', 'only ids or names', false)
    .addOption(
      new Option(
        '-f, --filter <key=value>',
        'only those whose field (as in -o json) is this; repeatable',
      )
        .argParser(collect)
        .default([], 'all'),
    );
}

/** Adds -o and --format for a command that prints objects whole. */
export function asInspect(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'how to print').choices(['json', 'yaml']).default('json'),
    )
    .option('-f, --format <template>', 'print by a template, as docker: "{{.State.Pid}}"');
}

/** Adds --detach and --timeout, the flags of every command that waits for services. */
export function asWaiting(command: Command): Command {
  return withTimeout(
    command.option('-d, --detach', 'do not wait until the cluster is there', false),
  );
}

/** Adds --timeout alone, for a command that is there to wait. */
export function withTimeout(command: Command): Command {
  return command.addOption(
    new Option('--timeout <duration>', 'how long to wait, for example 90s')
      .argParser(durationOption)
      .default(600_000, '10m'),
  );
}

export interface WaitingOptions {
  detach: boolean;
  timeout: number;
}
export interface InspectOptions {
  output: OutputFormat;
  format?: string;
}
export type { ListingOptions };

/** Adds --sig-proxy, which docker's users turn off by "=false". */
export function withSigProxy(command: Command): Command {
  return command
    .addOption(
      new Option('--sig-proxy <yes>')
        .argParser((text) => text !== 'false')
        .default(true)
        .hideHelp(),
    )
    .option('--no-sig-proxy', 'do not pass signals on to it');
}

export function collect(value: string, former: string[]): string[] {
  return [...former, value];
}

/**
 * "key=value" words as a map.
 * @param mayBeBare whether a word without "=" is a key with an empty value
 * @throws {UsageError}
 */
export function toMap(
  words: readonly string[],
  flag: string,
  mayBeBare: boolean,
): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const equals = word.indexOf('=');
      if (equals > 0) return [word.slice(0, equals), word.slice(equals + 1)];
      if (equals < 0 && mayBeBare && word !== '') return [word, ''];
      throw new UsageError(`${flag} takes key=value, not "${word}"`);
    }),
  );
}

export function durationOption(text: string): number {
  return reported(() => parseDurationMs(text));
}

/** A duration above 0. */
export function positiveDurationOption(text: string): number {
  const ms = durationOption(text);
  if (ms > 0) return ms;
  throw new InvalidArgumentError('must be above 0.');
}

export function integerOption(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('must be a whole number.');
  return Number(text);
}

/** A point in time: RFC 3339, seconds since the epoch, or a duration before now ("10m"). */
export function timeOption(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const absolute = /^\d{4}-/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(absolute) ? reported(() => Date.now() - parseDurationMs(text)) : absolute;
}

/** A parser whose errors commander shows with the flag they belong to. */
export function asSafe<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => reported(() => parse(text));
}

function reported<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new InvalidArgumentError(`${describeError(error)}.`);
  }
}
