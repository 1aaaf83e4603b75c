import { parseDurationMs } from './duration.js';
import { HatobaError, isKind } from './errors.js';
import { splitOnce } from './split-once.js';

/** Where the settings of a daemon come from; later ones win: file, environment, flags. */
export interface SettingSources {
  /** Parsed YAML of the configuration file; undefined without one. */
  readonly file: unknown;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Command line without --config and --check-config. */
  readonly flags: readonly string[];
}

/** One setting: what is right for it, and how a text of the environment or a flag becomes that. */
export interface Setting<T> {
  readonly form: 'text' | 'number' | 'list' | 'map';
  /** @throws {Expectation} */
  readonly parse: (raw: unknown) => T;
}
export type SettingTable<C> = { readonly [K in keyof C]: Setting<C[K]> };

/** Thrown by a setting's parser: what would have been right, to be read behind "… is not". */
export class Expectation extends Error {}

/** The command line of a daemon: --config FILE, --check-config, and settings as flags. */
export interface DaemonCommandLine {
  readonly configFile: string | undefined;
  readonly checkOnly: boolean;
  readonly flags: readonly string[];
}

/** @throws {HatobaError} invalid-argument */
export function parseCommandLine(argv: readonly string[]): DaemonCommandLine {
  const flags: string[] = [];
  let configFile: string | undefined;
  let checkOnly = false;
  for (let i = 0; i < argv.length; i++) {
    const flag = argv[i] ?? '';
    if (flag === '--check-config') checkOnly = true;
    else if (flag.startsWith('--config=')) configFile = flag.slice('--config='.length);
    else if (flag !== '--config') flags.push(flag);
    else {
      configFile = argv[++i];
      if (configFile === undefined) {
        throw new HatobaError('invalid-argument', '--config: needs a file');
      }
    }
  }
  return { configFile, checkOnly, flags };
}

/**
 * Reads all sources at once. A setting "dataPathAddr" is the key dataPathAddr of the file,
 * PREFIX_DATA_PATH_ADDR in the environment and --data-path-addr as a flag; a list has commas there,
 * a map "a=1,b=2".
 * @param options.defaults a setting without one must be given
 * @throws {HatobaError} invalid-argument with every problem on a line of its own
 */
export function readSettings<C extends object>(
  table: SettingTable<C>,
  sources: SettingSources,
  options: { envPrefix: string; defaults: Partial<C> },
): Readonly<C> {
  const problems: string[] = [];
  const given = new Map<string, Given>();
  const names = Object.keys(table) as (keyof C & string)[];
  const byName = (name: string): (keyof C & string) | undefined => names.find((n) => n === name);
  collectFile(sources.file, { byName, names, given, problems });
  const fromText = (where: string, name: keyof C & string, text: string): void => {
    given.set(name, { where, value: valueOfText(table[name].form, text) });
  };
  for (const [variable, text] of Object.entries(sources.env)) {
    if (!variable.startsWith(options.envPrefix) || text === undefined) continue;
    const name = names.find((n) => variable === options.envPrefix + words(n, '_').toUpperCase());
    if (name === undefined) problems.push(`${variable}: no setting of this name`);
    else fromText(variable, name, text);
  }
  for (const { flag, text } of splitFlags(sources.flags)) {
    const name = names.find((n) => flag === `--${words(n, '-')}`);
    if (name === undefined) problems.push(`${flag}: unknown flag`);
    else if (text === undefined) problems.push(`${flag}: needs a value`);
    else fromText(flag, name, text);
  }
  const values = names.map((name) => {
    const raw = given.get(name);
    if (raw !== undefined) return [name, parsed(table[name], raw, problems)] as const;
    if (options.defaults[name] === undefined) problems.push(`${name}: is missing`);
    return [name, options.defaults[name]] as const;
  });
  if (problems.length > 0) throw new HatobaError('invalid-argument', problems.join('\n'));
  // each value came from the parser of its key
  return Object.freeze(Object.fromEntries(values) as unknown as C);
}

interface Given {
  value: unknown;
  /** As the user wrote it. */
  where: string;
}

function collectFile(
  file: unknown,
  into: {
    byName: (name: string) => string | undefined;
    names: readonly string[];
    given: Map<string, Given>;
    problems: string[];
  },
): void {
  if (file === undefined || file === null) return;
  if (!isRecord(file)) {
    into.problems.push('the configuration file is not a mapping of keys to values');
    return;
  }
  for (const [key, value] of Object.entries(file)) {
    const name = into.byName(key);
    if (name === undefined) {
      into.problems.push(`${key}: unknown key; known are ${into.names.join(', ')}`);
    } else if (value !== null) into.given.set(name, { value, where: key });
  }
}

/** "--a=1" and "--a 1". */
function splitFlags(flags: readonly string[]): { flag: string; text: string | undefined }[] {
  const result: { flag: string; text: string | undefined }[] = [];
  for (let i = 0; i < flags.length; i++) {
    const [flag, inline] = splitOnce(flags[i] ?? '', '=');
    const isNext = flag.startsWith('--') && flags[i + 1]?.startsWith('--') === false;
    result.push({ flag, text: inline ?? (isNext ? flags[++i] : undefined) });
  }
  return result;
}

function parsed<T>(setting: Setting<T>, given: Given, problems: string[]): T | undefined {
  try {
    return setting.parse(given.value);
  } catch (error) {
    if (!(error instanceof Expectation)) throw error;
    problems.push(`${given.where}: ${JSON.stringify(given.value)} is not ${error.message}`);
    return undefined;
  }
}

function valueOfText(form: Setting<unknown>['form'], text: string): unknown {
  if (form === 'text') return text;
  if (form === 'number') return /^\d+$/.test(text) ? Number(text) : text;
  const items = text.split(',').filter((item) => item !== '');
  if (form === 'list') return items;
  return Object.fromEntries(
    items.map((item) => {
      const [key, value = ''] = splitOnce(item, '=');
      return [key, value];
    }),
  );
}

/** "etcdClientPort" → "etcd-client-port" */
function words(name: string, separator: string): string {
  return name
    .split(/(?=[A-Z])/)
    .map((word) => word.toLowerCase())
    .join(separator);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// ---- settings that daemons share ---------------------------------------------------------

/** A text for which `isRight` holds. */
export function textSetting(what: string, isRight: (text: string) => boolean): Setting<string> {
  return {
    form: 'text',
    parse: (raw) => {
      if (typeof raw === 'string' && isRight(raw)) return raw;
      throw new Expectation(what);
    },
  };
}

/** A list of texts for each of which `isRight` holds. */
export function listSetting(
  what: string,
  isRight: (text: string) => boolean,
): Setting<readonly string[]> {
  const isItem = (item: unknown): item is string => typeof item === 'string' && isRight(item);
  return {
    form: 'list',
    parse: (raw) => {
      if (Array.isArray(raw) && raw.every(isItem)) return raw;
      throw new Expectation(`a list of ${what}`);
    },
  };
}

export function choiceSetting<T extends string>(choices: readonly T[]): Setting<T> {
  return {
    form: 'text',
    parse: (raw) => {
      const choice = choices.find((c) => c === raw);
      if (choice === undefined) throw new Expectation(`one of ${choices.join(', ')}`);
      return choice;
    },
  };
}

/** A map of names to texts; numbers and booleans of the file become texts. */
export const labelsSetting: Setting<Readonly<Record<string, string>>> = {
  form: 'map',
  parse: (raw) => {
    if (!isRecord(raw)) throw new Expectation('a mapping of labels');
    return Object.fromEntries(
      Object.entries(raw).map(([name, value]) => {
        if (name === '' || !['string', 'number', 'boolean'].includes(typeof value)) {
          throw new Expectation('a mapping of labels to texts');
        }
        return [name, String(value)];
      }),
    );
  },
};

export const absolutePathSetting = textSetting(
  'an absolute path',
  (text) => text.startsWith('/') && !text.includes('\0'),
);

/** A duration above 0, as it was written: "10m", "24h". */
export const durationSetting = textSetting('a duration like 10m or 24h', isDuration);

function isDuration(text: string): boolean {
  try {
    return parseDurationMs(text) > 0;
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return false;
    throw error;
  }
}

export function wholeNumberSetting(
  what: string,
  { least, most }: { least: number; most: number },
): Setting<number> {
  return {
    form: 'number',
    parse: (raw) => {
      const isRight = typeof raw === 'number' && Number.isInteger(raw);
      if (isRight && raw >= least && raw <= most) return raw;
      throw new Expectation(`${what} from ${least} to ${most}`);
    },
  };
}

/** A whole number of percent, from 1 to 100. */
export const percentSetting = wholeNumberSetting('a percentage', { least: 1, most: 100 });

/** A map of names to lists of texts for each of which `isRight` holds; "a=1 2,b=3" as a text. */
export function listsSetting(
  what: string,
  isRight: (text: string) => boolean,
): Setting<Readonly<Record<string, readonly string[]>>> {
  const isItem = (item: unknown): item is string => typeof item === 'string' && isRight(item);
  return {
    form: 'map',
    parse: (raw) => {
      if (!isRecord(raw)) throw new Expectation(`a mapping of names to lists of ${what}`);
      return Object.fromEntries(
        Object.entries(raw).map(([name, value]) => {
          const items: unknown = typeof value === 'string' ? value.split(/\s+/) : value;
          if (name !== '' && Array.isArray(items) && items.every(isItem)) return [name, items];
          throw new Expectation(`a mapping of names to lists of ${what}`);
        }),
      );
    },
  };
}

export const portSetting: Setting<number> = {
  form: 'number',
  parse: (raw) => {
    if (typeof raw === 'number' && Number.isInteger(raw) && raw > 0 && raw < 65536) return raw;
    throw new Expectation('a port number');
  },
};

/** Where a server listens. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** "0.0.0.0:4400", "[::]:4400". */
export function listenSetting(example: string): Setting<ListenAddress> {
  return {
    form: 'text',
    parse: (raw) => {
      const match = typeof raw === 'string' ? /^(.+):(\d{1,5})$/.exec(raw) : null;
      const host = match?.[1]?.replace(/^\[(.*)\]$/, '$1') ?? '';
      const port = Number(match?.[2]);
      if (isIpAddress(host) && port > 0 && port < 65536) return { host, port };
      throw new Expectation(`an address like ${example}`);
    },
  };
}

/** IPv4 in full; IPv6 by its look alone, as the kernel has the last word. */
export function isIpAddress(text: string): boolean {
  const parts = text.split('.');
  if (parts.length === 4) return parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) <= 255);
  return /^[0-9a-fA-F:]*:[0-9a-fA-F:.]*$/.test(text);
}

/** "10.0.0.1:4400", "[fd00::1]:4400". */
export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
