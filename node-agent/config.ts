import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { parse } from 'yaml';
import { HatobaError, wrapError } from '../common/errors.js';
import type { LogLevel } from '../common/logger.js';
import { isManagerAddress } from './session/manager-list.js';

/** The effective configuration of an agent. */
export interface AgentConfig {
  /** Folder for everything that survives a reboot. */
  readonly root: string;
  /** Folder for what does not. */
  readonly runDir: string;
  /** "host:port" of managers. */
  readonly managers: readonly string[];
  /** Needed once, to become a node. */
  readonly joinToken: string;
  /** Empty: the address this machine has towards its manager. */
  readonly advertiseAddr: string;
  /** Empty: advertiseAddr. */
  readonly dataPathAddr: string;
  readonly agentListen: { readonly host: string; readonly port: number };
  readonly cgroupParent: string;
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Registries spoken to by plain HTTP. */
  readonly insecureRegistries: readonly string[];
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'text';
}

/** Where settings come from; later ones win: file, environment, flags. */
export interface ConfigSources {
  /** Parsed YAML of the configuration file; undefined without one. */
  readonly file: unknown;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Command line without --config and --check-config. */
  readonly flags: readonly string[];
  readonly systemHostname: string;
}

type Key = keyof AgentConfig;
type Parsers = { readonly [K in Key]: (raw: unknown) => AgentConfig[K] };

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

const PARSERS: Parsers = {
  root: absolutePath,
  runDir: absolutePath,
  managers: (raw) => listOf(raw, isManagerAddress, 'host:port'),
  joinToken: text,
  advertiseAddr: optionalAddress,
  dataPathAddr: optionalAddress,
  agentListen: listenAddress,
  cgroupParent: cgroupPath,
  hostname: hostName,
  labels,
  insecureRegistries: (raw) => listOf(raw, isNonEmpty, 'a registry host[:port]'),
  logLevel: (raw) => oneOf(raw, LOG_LEVELS),
  logFormat: (raw) => oneOf(raw, ['json', 'text'] as const),
};

/**
 * Reads all sources at once.
 * @throws {HatobaError} invalid-argument with every problem on a line of its own
 */
export function parseConfig(sources: ConfigSources): AgentConfig {
  const problems: string[] = [];
  const raw = new Map<Key, { value: unknown; where: string }>();
  collectFile(sources.file, raw, problems);
  collectEnv(sources.env, raw, problems);
  collectFlags(sources.flags, raw, problems);
  const defaults = defaultConfig(sources.systemHostname);
  const values = Object.fromEntries(
    KEYS.map((key) => [key, valueOf(key, raw, defaults, problems)]),
  ) as unknown as AgentConfig; // each value came from the parser of its key
  if (problems.length > 0) throw new HatobaError('invalid-argument', problems.join('\n'));
  return Object.freeze(values);
}

/**
 * Reads the command line, the file that its --config names, and the environment.
 * @throws {HatobaError} invalid-argument with every problem on a line of its own
 */
export async function loadConfig(
  argv: readonly string[],
): Promise<{ config: AgentConfig; checkOnly: boolean }> {
  const flags: string[] = [];
  let path: string | undefined;
  let checkOnly = false;
  for (let i = 0; i < argv.length; i++) {
    const flag = argv[i] ?? '';
    if (flag === '--check-config') checkOnly = true;
    else if (flag === '--config') path = argv[++i] ?? '';
    else if (flag.startsWith('--config=')) path = flag.slice('--config='.length);
    else flags.push(flag);
  }
  const file = path === undefined ? undefined : await readYaml(path);
  const config = parseConfig({ file, env: process.env, flags, systemHostname: hostname() });
  return { config, checkOnly };
}

async function readYaml(path: string): Promise<unknown> {
  try {
    return parse(await readFile(path, 'utf8')) as unknown;
  } catch (error) {
    throw new HatobaError('invalid-argument', wrapError(error, `configuration ${path}`).message);
  }
}

function defaultConfig(systemHostname: string): AgentConfig {
  return {
    root: '/var/lib/hatoba',
    runDir: '/run/hatoba',
    managers: [],
    joinToken: '',
    advertiseAddr: '',
    dataPathAddr: '',
    agentListen: { host: '0.0.0.0', port: 4402 },
    cgroupParent: '/hatoba',
    hostname: systemHostname,
    labels: {},
    insecureRegistries: [],
    logLevel: 'info',
    logFormat: 'text',
  };
}

/** The effective configuration as a file would say it, without the secret. */
export function toPrintable(config: AgentConfig): Record<string, unknown> {
  const { host, port } = config.agentListen;
  return {
    ...config,
    agentListen: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    joinToken: config.joinToken === '' ? '' : '(set)',
  };
}

const KEYS = Object.keys(PARSERS) as readonly Key[];
type Raw = Map<Key, { value: unknown; where: string }>;

function valueOf(
  key: Key,
  raw: Raw,
  defaults: AgentConfig,
  problems: string[],
): AgentConfig[Key] | undefined {
  const given = raw.get(key);
  if (given === undefined) return defaults[key];
  try {
    return PARSERS[key](given.value);
  } catch (error) {
    if (!(error instanceof Expectation)) throw error;
    problems.push(`${given.where}: ${JSON.stringify(given.value)} is not ${error.message}`);
    return undefined;
  }
}

function collectFile(file: unknown, raw: Raw, problems: string[]): void {
  if (file === undefined || file === null) return;
  if (!isRecord(file)) {
    problems.push('the configuration file is not a mapping of keys to values');
    return;
  }
  for (const [name, value] of Object.entries(file)) {
    const key = KEYS.find((k) => k === name);
    if (key === undefined) problems.push(`${name}: unknown key; known are ${KEYS.join(', ')}`);
    else if (value !== null) raw.set(key, { value, where: name });
  }
}

const ENV_PREFIX = 'HATOBA_AGENT_';

function collectEnv(env: ConfigSources['env'], raw: Raw, problems: string[]): void {
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(ENV_PREFIX) || value === undefined) continue;
    const key = KEYS.find((k) => name === `${ENV_PREFIX}${words(k).join('_').toUpperCase()}`);
    if (key === undefined) problems.push(`${name}: no setting of this name`);
    else raw.set(key, { value: split(key, value), where: name });
  }
}

function collectFlags(flags: readonly string[], raw: Raw, problems: string[]): void {
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] ?? '';
    const [name = '', inline] = splitOnce(flag, '=');
    const key = KEYS.find((k) => name === `--${words(k).join('-')}`);
    if (key === undefined) {
      problems.push(`${flag}: unknown flag`);
      continue;
    }
    const value = inline ?? flags[++i];
    if (value === undefined) problems.push(`${name}: needs a value`);
    else raw.set(key, { value: split(key, value), where: name });
  }
}

/** "dataPathAddr" → data, path, addr */
function words(key: string): string[] {
  return key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
}

/** Lists and maps in one string: "a,b" and "zone=a,disk=ssd". */
function split(key: Key, value: string): unknown {
  const isList = key === 'managers' || key === 'insecureRegistries';
  if (!isList && key !== 'labels') return value;
  const items = value.split(',').filter(isNonEmpty);
  return isList
    ? items
    : Object.fromEntries(items.map((i) => [...splitOnce(i, '='), ''].slice(0, 2)));
}

function splitOnce(value: string, separator: string): string[] {
  const at = value.indexOf(separator);
  return at < 0 ? [value] : [value.slice(0, at), value.slice(at + separator.length)];
}

/** What would have been right. */
class Expectation extends Error {}

function isNonEmpty(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(raw: unknown): string {
  if (typeof raw !== 'string') throw new Expectation('a text');
  return raw;
}

function absolutePath(raw: unknown): string {
  if (typeof raw === 'string' && raw.startsWith('/') && !raw.includes('\0')) return raw;
  throw new Expectation('an absolute path');
}

function cgroupPath(raw: unknown): string {
  if (typeof raw === 'string' && /^(?:\/[A-Za-z0-9_.-]+)+$/.test(raw) && !raw.includes('/..')) {
    return raw;
  }
  throw new Expectation('a cgroup path like /hatoba');
}

function hostName(raw: unknown): string {
  if (typeof raw === 'string' && /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/.test(raw)) return raw;
  throw new Expectation('a host name');
}

function optionalAddress(raw: unknown): string {
  if (raw === '') return '';
  if (typeof raw === 'string' && (isIpv4(raw) || /^[0-9a-fA-F:]*:[0-9a-fA-F:.]*$/.test(raw))) {
    return raw;
  }
  throw new Expectation('an IP address');
}

function isIpv4(value: string): boolean {
  const parts = value.split('.');
  return parts.length === 4 && parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) <= 255);
}

function listenAddress(raw: unknown): AgentConfig['agentListen'] {
  if (!isManagerAddress(raw)) throw new Expectation('an address like 0.0.0.0:4402');
  const colon = raw.lastIndexOf(':');
  const host = raw.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(raw.slice(colon + 1)) };
}

function listOf(raw: unknown, isItem: (item: unknown) => item is string, what: string): string[] {
  if (Array.isArray(raw) && raw.every(isItem)) return raw;
  throw new Expectation(`a list of ${what}`);
}

function labels(raw: unknown): Record<string, string> {
  const isScalar = (value: unknown): value is string | number | boolean =>
    ['string', 'number', 'boolean'].includes(typeof value);
  if (!isRecord(raw)) throw new Expectation('a mapping of labels');
  return Object.fromEntries(
    Object.entries(raw).map(([name, value]) => {
      if (name === '' || !isScalar(value)) throw new Expectation('a mapping of labels to texts');
      return [name, String(value)];
    }),
  );
}

function oneOf<T extends string>(raw: unknown, choices: readonly T[]): T {
  const choice = choices.find((c) => c === raw);
  if (choice === undefined) throw new Expectation(`one of ${choices.join(', ')}`);
  return choice;
}
