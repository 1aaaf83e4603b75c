import Table from 'cli-table3';
import { stringify } from 'yaml';
import { UsageError } from '../failure.js';

export type OutputFormat = 'table' | 'json' | 'yaml' | 'wide';

/** The flags that every listing takes. */
export interface ListingOptions {
  output: OutputFormat;
  quiet: boolean;
  /** "key=value" on the fields of the JSON output; all must hold. */
  filter: readonly string[];
}

export interface Column<Row> {
  title: string;
  value: (row: Row) => string;
  /** Only with `-o wide`. */
  wide?: boolean;
}

/** How one kind of object is listed. `Row` is its JSON form, whose fields are fixed. */
export interface Listing<Row> {
  columns: readonly Column<Row>[];
  /** What `-q` prints. */
  key: (row: Row) => string;
}

/** The text of a listing in the wanted format, without a trailing line end. */
export function formatListing<Row extends object>(
  rows: readonly Row[],
  listing: Listing<Row>,
  options: ListingOptions,
): string {
  const kept = rows.filter((row) => options.filter.every((filter) => matches(row, filter)));
  if (options.quiet) return kept.map(listing.key).join('\n');
  if (options.output === 'json') return JSON.stringify(kept, null, 2);
  if (options.output === 'yaml') return stringify(kept).trimEnd();
  const columns = listing.columns.filter((c) => c.wide !== true || options.output === 'wide');
  return formatTable(
    columns.map((c) => c.title),
    kept.map((row) => columns.map((c) => c.value(row))),
  );
}

/** One object, for `inspect`. */
export function formatObject(object: object, output: OutputFormat): string {
  return output === 'yaml' ? stringify(object).trimEnd() : JSON.stringify(object, null, 2);
}

/** Columns as wide as their widest cell, three blanks between, no lines drawn. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const border = ['top', 'bottom', 'left', 'right', 'mid'];
  const parts = border.flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`]);
  const chars = Object.fromEntries(
    [...parts, 'left-mid', 'mid-mid', 'right-mid'].map((p) => [p, '']),
  );
  const table = new Table({
    head: [...head],
    chars: { ...chars, middle: '   ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  table.push(...rows.map((row) => [...row]));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

function matches(row: object, filter: string): boolean {
  const cut = filter.indexOf('=');
  if (cut <= 0) throw new UsageError(`--filter takes key=value, not "${filter}"`);
  const key = filter.slice(0, cut);
  const wanted = filter.slice(cut + 1);
  let value: unknown = row;
  for (const part of key.split('.')) {
    value = typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined;
  }
  if (value === undefined) {
    throw new UsageError(
      `--filter: there is no field "${key}"; there are ${Object.keys(row).join(', ')}`,
    );
  }
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return key === 'name' || key === 'id' ? text.startsWith(wanted) : text === wanted;
}
