import Table from 'cli-table3';
import { stringify } from 'yaml';
import { UsageError } from '../failure.js';
import { formatTemplate } from './format-template.js';

export type OutputFormat = 'table' | 'json' | 'yaml' | 'wide';

/** The flags that every listing takes. */
export interface ListingOptions {
  output: OutputFormat;
  /** A template, "table TEMPLATE", "json" (one line each) or "table"; goes before `output`. */
  format?: string;
  quiet: boolean;
  /** "key=value": a filter of the listing, or a field of its JSON output. */
  filter: readonly string[];
}

export interface Column<Row> {
  title: string;
  value: (row: Row) => string;
  /** Only with `-o wide`. */
  wide?: boolean;
  /** Docker's name of it in templates. */
  field?: string;
}

/** How one kind of object is listed. `Row` is its JSON form, whose fields are fixed. */
export interface Listing<Row> {
  columns: readonly Column<Row>[];
  /** What `-q` prints. */
  key: (row: Row) => string;
  /** Further fields for templates, by docker's names; those of the JSON form are always there. */
  fields?: Readonly<Record<string, (row: Row) => unknown>>;
  /** Docker's filters, by their names; other names are fields of the JSON form. */
  filters?: Readonly<Record<string, (row: Row, value: string) => boolean>>;
}

/** The text of a listing in the wanted format, without a trailing line end. */
export function formatListing<Row extends object>(
  rows: readonly Row[],
  listing: Listing<Row>,
  options: ListingOptions,
): string {
  const filters = options.filter.map(parseFilter);
  const kept = rows.filter((row) => isKept(row, listing, filters));
  const format = options.format === 'table' ? undefined : options.format;
  if (format !== undefined) return formatByTemplate(kept, listing, format);
  if (options.quiet) return kept.map(listing.key).join('\n');
  if (options.output === 'json') return JSON.stringify(kept, null, 2);
  if (options.output === 'yaml') return stringify(kept).trimEnd();
  const columns = listing.columns.filter((c) => c.wide !== true || options.output === 'wide');
  return formatTable(
    columns.map((c) => c.title),
    kept.map((row) => columns.map((c) => c.value(row))),
  );
}

/** Whole objects, for `inspect`; by a template each of a list is on its own. */
export function formatObject(
  shown: object,
  { output, format }: { output: OutputFormat; format?: string },
): string {
  if (format !== undefined && format !== 'json') {
    const list: readonly unknown[] = Array.isArray(shown) ? shown : [shown];
    return list.map(formatTemplate(format)).join('\n');
  }
  if (format === 'json') return JSON.stringify(shown);
  return output === 'yaml' ? stringify(shown).trimEnd() : JSON.stringify(shown, null, 2);
}

function formatByTemplate<Row extends object>(
  rows: readonly Row[],
  listing: Listing<Row>,
  format: string,
): string {
  const objects = rows.map((row) => templateFields(row, listing));
  if (format === 'json') return objects.map((o) => JSON.stringify(o)).join('\n');
  const [isTable, template] = /^table\s/.test(format)
    ? [true, format.slice('table '.length)]
    : [false, format];
  const show = formatTemplate(template);
  const lines = objects.map(show);
  if (!isTable) return lines.join('\n');
  const titles = listing.columns.map((c) => [c.field ?? '', c.title]);
  const head = template.replace(/{{[^}]*?\.(\w+)[^}]*}}/g, (_, field: string) => {
    const known = titles.find(([f]) => f === field);
    return known?.[1] ?? field.toUpperCase();
  });
  const cells = (line: string): string[] => line.replaceAll('\\t', '\t').split('\t');
  return formatTable(cells(head), lines.map(cells));
}

function templateFields<Row extends object>(row: Row, listing: Listing<Row>): object {
  const columns = listing.columns.flatMap(({ field, value }) =>
    field === undefined ? [] : [[field, value(row)] as const],
  );
  const further = Object.entries(listing.fields ?? {}).map(([field, value]) => [field, value(row)] as const); // prettier-ignore
  return { ...Object.fromEntries([...columns, ...further]), ...row };
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

type Filter = readonly [key: string, value: string];

function parseFilter(text: string): Filter {
  const cut = text.indexOf('=');
  if (cut <= 0) throw new UsageError(`--filter takes key=value, not "${text}"`);
  return [text.slice(0, cut), text.slice(cut + 1)];
}

/** As in docker: of the values for one key any must hold, but of labels all. */
function isKept<Row extends object>(
  row: Row,
  listing: Listing<Row>,
  filters: readonly Filter[],
): boolean {
  return filters.every(([key]) => {
    const values = filters.filter(([other]) => other === key).map(([, value]) => value);
    const holds = (value: string): boolean => matches(row, listing, key, value);
    return key === 'label' ? values.every(holds) : values.some(holds);
  });
}

function matches<Row extends object>(
  row: Row,
  { filters = {} }: Listing<Row>,
  key: string,
  wanted: string,
): boolean {
  const named = Object.hasOwn(filters, key) ? filters[key] : undefined;
  if (named !== undefined) return named(row, wanted);
  let value: unknown = row;
  for (const part of key.split('.')) {
    value = typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined;
  }
  if (value === undefined) {
    const known = new Set([...Object.keys(filters), ...Object.keys(row)]);
    throw new UsageError(`--filter: there is no "${key}"; there are ${[...known].join(', ')}`);
  }
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return key === 'name' || key === 'id' ? text.startsWith(wanted) : text === wanted;
}

/** "tier" or "tier=front", among the labels. */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const [key = '', ...value] = wanted.split('=');
  return key in labels && (value.length === 0 || labels[key] === value.join('='));
}
