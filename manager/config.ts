import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { parse } from 'yaml';
import { HatobaError, wrapError } from '../common/errors.js';
import type { LogLevel } from '../common/logger.js';

/** The effective configuration of a manager. */
export interface ManagerConfig {
  /** Folder for everything that survives a reboot. */
  readonly root: string;
  /** Folder for what does not. */
  readonly runDir: string;
  /** IP address by which other nodes reach this one. */
  readonly advertiseAddr: string;
  readonly listenAddr: { readonly host: string; readonly port: number };
  readonly etcdClientPort: number;
  readonly etcdPeerPort: number;
  /** Of an external etcd; empty: one is started and supervised. */
  readonly etcdEndpoints: readonly string[];
  /** Program of the embedded etcd; a bare name is looked up on the PATH. */
  readonly etcdBinary: string;
  /** Pools from which the subnets of networks are cut; used when the cluster is created. */
  readonly defaultAddrPool: readonly string[];
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
}

type Key = keyof ManagerConfig;
type Raw = Map<Key, { value: unknown; where: string }>;

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

const PARSERS: { readonly [K in Key]: (raw: unknown) => ManagerConfig[K] } = {
  root: absolutePath,
  runDir: absolutePath,
  advertiseAddr: ipAddress,
  listenAddr: listenAddress,
  etcdClientPort: port,
  etcdPeerPort: port,
  etcdEndpoints: (raw) => listOf(raw, isEndpoint, 'URLs like https://10.0.0.5:2379'),
  etcdBinary: program,
  defaultAddrPool: (raw) => listOf(raw, isPool, 'IPv4 networks like 10.128.0.0/9'),
  logLevel: (raw) => oneOf(raw, LOG_LEVELS),
  logFormat: (raw) => oneOf(raw, ['json', 'text'] as const),
};

const KEYS = Object.keys(PARSERS) as readonly Key[];

const DEFAULTS: Omit<ManagerConfig, 'advertiseAddr'> = {
  root: '/var/lib/hatoba',
  runDir: '/run/hatoba',
  listenAddr: { host: '0.0.0.0', port: 4400 },
  etcdClientPort: 4379,
  etcdPeerPort: 4380,
  etcdEndpoints: [],
  etcdBinary: 'etcd',
  defaultAddrPool: ['10.128.0.0/9'],
  logLevel: 'info',
  logFormat: 'text',
};

/**
 * Reads all sources at once.
 * @throws {HatobaError} invalid-argument with every problem on a line of its own
 */
export function parseConfig(sources: ConfigSources): ManagerConfig {
  const problems: string[] = [];
  const raw: Raw = new Map();
  collectFile(sources.file, raw, problems);
  collectEnv(sources.env, raw, problems);
  collectFlags(sources.flags, raw, problems);
  if (!raw.has('advertiseAddr')) {
    problems.push('advertiseAddr: is missing; give the IP address that other nodes reach this by');
  }
  const defaults: Partial<ManagerConfig> = DEFAULTS;
  const values = Object.fromEntries(
    KEYS.map((key) => [key, raw.has(key) ? valueOf(key, raw, problems) : defaults[key]]),
  ) as unknown as ManagerConfig; // each value came from the parser of its key
  if (problems.length > 0) throw new HatobaError('invalid-argument', problems.join('\n'));
  return Object.freeze(values);
}

/** The effective configuration as a file would say it. */
export function toPrintable(config: ManagerConfig): Record<string, unknown> {
  const { host, port: number } = config.listenAddr;
  return { ...config, listenAddr: hostPort(host, number) };
}

/** "10.0.0.1:4400", "[fd00::1]:4400" */
export function hostPort(host: string, number: number): string {
  return host.includes(':') ? `[${host}]:${number}` : `${host}:${number}`;
}

/** What the command line asks for besides settings. */
export interface CommandLine {
  readonly configFile: string | undefined;
  readonly checkOnly: boolean;
  readonly flags: readonly string[];
}

/** @throws {HatobaError} invalid-argument */
export function parseCommandLine(argv: readonly string[]): CommandLine {
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
 * Reads the command line, the file it names, and the environment.
 * @throws {HatobaError} invalid-argument with every problem on a line of its own
 */
export async function loadConfig(
  argv: readonly string[],
): Promise<{ config: ManagerConfig; checkOnly: boolean }> {
  const { configFile, checkOnly, flags } = parseCommandLine(argv);
  const file = configFile === undefined ? undefined : await readYaml(configFile);
  return { config: parseConfig({ file, env: process.env, flags }), checkOnly };
}

async function readYaml(path: string): Promise<unknown> {
  try {
    return parse(await readFile(path, 'utf8')) as unknown;
  } catch (error) {
    throw new HatobaError('invalid-argument', wrapError(error, path).message);
  }
}

function valueOf(key: Key, raw: Raw, problems: string[]): ManagerConfig[Key] | undefined {
  const given = raw.get(key);
  try {
    return PARSERS[key](given?.value);
  } catch (error) {
    if (!(error instanceof Expectation)) throw error;
    problems.push(
      `${given?.where ?? key}: ${JSON.stringify(given?.value)} is not ${error.message}`,
    );
    return undefined;
  }
}

function collectFile(file: unknown, raw: Raw, problems: string[]): void {
  if (file === undefined || file === null) return;
  if (typeof file !== 'object' || Array.isArray(file)) {
    problems.push('the configuration file is not a mapping of keys to values');
    return;
  }
  for (const [name, value] of Object.entries(file)) {
    const key = KEYS.find((k) => k === name);
    if (key === undefined) problems.push(`${name}: unknown key; known are ${KEYS.join(', ')}`);
    else if (value !== null) raw.set(key, { value, where: name });
  }
}

const ENV_PREFIX = 'HATOBA_MANAGER_';

function collectEnv(env: ConfigSources['env'], raw: Raw, problems: string[]): void {
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(ENV_PREFIX) || value === undefined) continue;
    const key = KEYS.find((k) => name === `${ENV_PREFIX}${words(k).join('_').toUpperCase()}`);
    if (key === undefined) problems.push(`${name}: no setting of this name`);
    else raw.set(key, { value: fromText(key, value), where: name });
  }
}

function collectFlags(flags: readonly string[], raw: Raw, problems: string[]): void {
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] ?? '';
    const at = flag.indexOf('=');
    const name = at < 0 ? flag : flag.slice(0, at);
    const key = KEYS.find((k) => name === `--${words(k).join('-')}`);
    if (key === undefined) {
      problems.push(`${flag}: unknown flag`);
      continue;
    }
    const value = at < 0 ? flags[++i] : flag.slice(at + 1);
    if (value === undefined) problems.push(`${name}: needs a value`);
    else raw.set(key, { value: fromText(key, value), where: name });
  }
}

/** "etcdClientPort" → etcd, client, port */
function words(key: string): string[] {
  return key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
}

/** Environment and flags hold text: lists have commas, numbers are digits. */
function fromText(key: Key, value: string): unknown {
  if (key === 'etcdEndpoints' || key === 'defaultAddrPool') {
    return value.split(',').filter((item) => item !== '');
  }
  const isNumber = key === 'etcdClientPort' || key === 'etcdPeerPort';
  return isNumber && /^\d+$/.test(value) ? Number(value) : value;
}

/** What would have been right. */
class Expectation extends Error {}

function absolutePath(raw: unknown): string {
  if (typeof raw === 'string' && raw.startsWith('/') && !raw.includes('\0')) return raw;
  throw new Expectation('an absolute path');
}

function program(raw: unknown): string {
  const isName = typeof raw === 'string' && /^[\w.-]+$/.test(raw);
  return isName ? raw : absolutePath(raw);
}

function ipAddress(raw: unknown): string {
  if (typeof raw === 'string' && isIP(raw) !== 0) return raw;
  throw new Expectation('an IP address');
}

function port(raw: unknown): number {
  if (typeof raw === 'number' && Number.isInteger(raw) && raw > 0 && raw < 65536) return raw;
  throw new Expectation('a port number');
}

function listenAddress(raw: unknown): ManagerConfig['listenAddr'] {
  const match = typeof raw === 'string' ? /^(.+):(\d{1,5})$/.exec(raw) : null;
  const host = match?.[1]?.replace(/^\[(.*)\]$/, '$1') ?? '';
  const number = Number(match?.[2]);
  if (isIP(host) !== 0 && number > 0 && number < 65536) return { host, port: number };
  throw new Expectation('an address like 0.0.0.0:4400');
}

function isEndpoint(raw: unknown): raw is string {
  return typeof raw === 'string' && /^https?:\/\/[^\s/:]+(:\d+)?\/?$/.test(raw);
}

function isPool(raw: unknown): raw is string {
  const match = typeof raw === 'string' ? /^([\d.]+)\/(\d{1,2})$/.exec(raw) : null;
  const prefix = Number(match?.[2]);
  return isIP(match?.[1] ?? '') === 4 && prefix >= 8 && prefix <= 28;
}

function listOf(
  raw: unknown,
  isItem: (item: unknown) => item is string,
  what: string,
): readonly string[] {
  if (Array.isArray(raw) && raw.every(isItem)) return raw;
  throw new Expectation(`a list of ${what}`);
}

function oneOf<T extends string>(raw: unknown, choices: readonly T[]): T {
  const choice = choices.find((c) => c === raw);
  if (choice === undefined) throw new Expectation(`one of ${choices.join(', ')}`);
  return choice;
}
