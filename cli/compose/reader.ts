import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Document,
  type LineCounter,
  type Node,
  type Pair,
} from 'yaml';
import { parseBytes } from '../../common/bytes.js';
import { parseDurationMs } from '../../common/duration.js';
import { describeError } from '../../common/errors.js';
import { interpolate } from './interpolate.js';
import { nearest } from './nearest.js';

/** One mistake in a compose file, where it stands and what would be right. */
export interface Problem {
  file: string;
  /** From 1. */
  line: number;
  column: number;
  /** "services.web.deploy.replicas"; empty for the file as a whole. */
  path: string;
  message: string;
}

/** A parsed file and the mistakes found in it so far. */
export interface Source {
  readonly file: string;
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly problems: Problem[];
}

/** How to read each key of a map. */
export type Fields = Readonly<Record<string, (value: Value) => void>>;

/**
 * A place in a compose file: reads what is expected there, or notes a problem and returns
 * undefined, so that one pass finds all mistakes. Aliases, merge keys and ${VARIABLES} are resolved
 * here and nowhere else.
 */
export class Value {
  readonly path: string;
  readonly #source: Source;
  readonly #node: Node | null;
  /** Where a mistake in the value is shown. */
  readonly #at: Node | null;
  /** Where a mistake in the key is shown, for entries of a map. */
  readonly #key: Node | null;

  constructor(source: Source, node: unknown, path: string, key: Node | null) {
    this.#source = source;
    this.path = path;
    this.#node = resolve(source.document, node);
    this.#at = (node as Node | null) ?? key;
    this.#key = key;
  }

  /** "key:" with nothing behind it, or an explicit null. */
  get isNull(): boolean {
    return this.#node === null || (isScalar(this.#node) && this.#node.value === null);
  }
  get isMap(): boolean {
    return isMap(this.#node);
  }
  get isList(): boolean {
    return isSeq(this.#node);
  }

  /** Of a map as a whole, the mistake is shown at its key. */
  problem(message: string): undefined {
    return this.#problemAt(this.isMap ? (this.#key ?? this.#at) : this.#at, message);
  }

  /** Text; numbers and booleans as they are written in the file. */
  string(): string | undefined {
    const scalar = this.#scalar('text');
    if (scalar === undefined) return undefined;
    if (typeof scalar === 'string') return scalar;
    const source = isScalar(this.#node) ? this.#node.source : undefined;
    return source ?? String(scalar);
  }

  /** A whole number from `min` to `max`. */
  integer(min = 0, max = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.#number('a whole number');
    if (value === undefined) return undefined;
    if (!Number.isSafeInteger(value)) return this.problem(`must be a whole number, not ${value}`);
    if (value >= min && value <= max) return value;
    const right = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `between ${min} and ${max}`;
    return this.problem(`must be ${right}, not ${value}`);
  }

  /** A number between `min` and `max`. */
  number(min: number, max = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.#number('a number');
    if (value === undefined) return undefined;
    if (value >= min && value <= max) return value;
    return this.problem(`must be between ${min} and ${max}, not ${value}`);
  }

  boolean(): boolean | undefined {
    const scalar = this.#scalar('true or false');
    if (scalar === undefined || typeof scalar === 'boolean') return scalar;
    if (scalar === 'true' || scalar === 'yes') return true;
    if (scalar === 'false' || scalar === 'no') return false;
    return this.problem(`must be true or false, not "${scalar}"`);
  }

  oneOf<T extends string>(words: readonly T[]): T | undefined {
    const text = this.string();
    if (text === undefined) return undefined;
    const found = words.find((word) => word === text);
    return (
      found ?? this.problem(`must be ${words.map((w) => `"${w}"`).join(' or ')}, not "${text}"`)
    );
  }

  /** "10s", "1m30s". */
  durationMs(): number | undefined {
    const text = this.string();
    return text === undefined ? undefined : this.#parsed(() => parseDurationMs(text));
  }

  /** "512m", "2g", or bytes. */
  bytes(): number | undefined {
    const text = this.string();
    return text === undefined ? undefined : this.#parsed(() => parseBytes(text));
  }

  /** The items of a list. */
  items(): Value[] {
    if (this.isNull) return [];
    if (!isSeq(this.#node)) {
      this.problem('must be a list');
      return [];
    }
    return this.#node.items.map(
      (item, i) =>
        new Value(this.#source, item, `${this.path}[${i}]`, (item as Node | null) ?? this.#at),
    );
  }

  strings(): string[] {
    return this.items().flatMap((item) => item.string() ?? []);
  }

  /** One text, or a list of texts. */
  stringOrStrings(): string[] {
    return this.isList ? this.strings() : [this.string()].filter((s) => s !== undefined);
  }

  /** The entries of a map, merge keys ("<<") applied, in the order of the file. */
  entries(): [string, Value][] {
    if (this.isNull) return [];
    if (!isMap(this.#node)) {
      this.problem('must be a map of keys and values');
      return [];
    }
    const merged = new Map<string, Value>();
    for (const pair of this.#pairs(this.#node)) {
      const key = String(isScalar(pair.key) ? pair.key.value : pair.key);
      const path = this.path === '' ? key : `${this.path}.${key}`;
      const at = pair.key as Node | null;
      merged.set(key, new Value(this.#source, pair.value, path, at));
    }
    return [...merged];
  }

  /** Reads a map with known keys; others are mistakes, but for "x-…". */
  fields(fields: Fields, notYet: readonly string[] = []): void {
    for (const [key, value] of this.entries()) {
      const read = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (read !== undefined) read(value);
      else if (notYet.includes(key)) value.#problemAt(value.#key, `"${key}" is not supported yet`);
      else if (!key.startsWith('x-')) value.#unknownKey(key, Object.keys(fields));
    }
  }

  /** A map of texts, or a list of "KEY=value"; a key without a value gives undefined. */
  dictionary(): Map<string, string | undefined> {
    const result = new Map<string, string | undefined>();
    if (this.isList) {
      for (const text of this.strings()) {
        const cut = text.indexOf('=');
        if (cut < 0) result.set(text, undefined);
        else result.set(text.slice(0, cut), text.slice(cut + 1));
      }
      return result;
    }
    for (const [key, value] of this.entries()) {
      result.set(key, value.isNull ? undefined : value.string());
    }
    return result;
  }

  #problemAt(node: Node | null, message: string): undefined {
    const { line, col } = this.#source.lines.linePos(node?.range?.[0] ?? 0);
    const { file, problems } = this.#source;
    problems.push({
      file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      path: this.path,
      message,
    });
    return undefined;
  }

  #unknownKey(key: string, known: readonly string[]): void {
    const near = nearest(key, known);
    const list = known.length > 12 ? '' : `; known keys: ${known.join(', ')}`;
    const hint = near === undefined ? list : `; did you mean "${near}"?`;
    this.#problemAt(this.#key, `unknown key "${key}"${hint}`);
  }

  #pairs(map: { items: Pair[] }): Pair[] {
    const own: Pair[] = [];
    const inherited: Pair[] = [];
    for (const pair of map.items) {
      if (!isScalar(pair.key) || pair.key.value !== '<<') {
        own.push(pair);
        continue;
      }
      const source = resolve(this.#source.document, pair.value);
      const maps = isSeq(source)
        ? source.items.map((i) => resolve(this.#source.document, i))
        : [source];
      // the first map that names a key wins, so later ones go in first
      for (const m of maps.reverse()) if (isMap(m)) inherited.push(...this.#pairs(m));
    }
    return [...inherited, ...own];
  }

  #number(what: string): number | undefined {
    const scalar = this.#scalar(what);
    if (scalar === undefined) return undefined;
    const value = typeof scalar === 'number' ? scalar : Number(scalar === '' ? NaN : scalar);
    return Number.isFinite(value) ? value : this.problem(`must be ${what}, not "${scalar}"`);
  }

  #scalar(what: string): string | number | boolean | undefined {
    if (!isScalar(this.#node) || this.#node.value === null) return this.problem(`must be ${what}`);
    const { value } = this.#node;
    if (typeof value === 'number' || typeof value === 'boolean') return value;
    if (typeof value !== 'string') return this.problem(`must be ${what}`);
    return this.#parsed(() => interpolate(value, this.#source.variables));
  }

  #parsed<T>(parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      return this.problem(describeError(error));
    }
  }
}

function resolve(document: Document.Parsed, node: unknown): Node | null {
  return isAlias(node) ? (node.resolve(document) ?? null) : ((node as Node | undefined) ?? null);
}
