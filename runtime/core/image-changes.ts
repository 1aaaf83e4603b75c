import { HatobaError, describeError } from '../../common/errors.js';
import { expandText, splitWords, type Variables } from './dockerfile-words.js';
import { parseHealthChange, type HealthcheckConfig } from './health-change.js';
import { parseSignal } from '../../common/model/signals.js';

/** The `config` of an OCI image configuration, as far as changes set it; as Docker writes it. */
export interface ChangedConfig {
  User?: string;
  ExposedPorts?: Record<string, object>;
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  Volumes?: Record<string, object>;
  WorkingDir?: string;
  Labels?: Record<string, string>;
  StopSignal?: string;
  Healthcheck?: HealthcheckConfig;
}

type Change = (config: ChangedConfig, text: string, variables: Variables) => void;

const CHANGES: Readonly<Record<string, Change>> = {
  CMD: (config, text) => {
    config.Cmd = commandOf(text);
  },
  ENTRYPOINT: (config, text) => {
    config.Entrypoint = commandOf(text);
  },
  ENV: (config, text, variables) => {
    const env = new Map(splitEnv(config.Env));
    for (const [name, value] of pairs(text, variables)) env.set(name, value);
    config.Env = [...env].map(([name, value]) => `${name}=${value}`);
  },
  EXPOSE: (config, text, variables) => {
    const ports = splitWords(text, variables).flatMap(portsOf);
    config.ExposedPorts = { ...config.ExposedPorts, ...emptyObjects(ports) };
  },
  HEALTHCHECK: (config, text) => {
    config.Healthcheck = parseHealthChange(text, commandOf);
  },
  LABEL: (config, text, variables) => {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(text, variables)) };
  },
  STOPSIGNAL: (config, text, variables) => {
    config.StopSignal = expandText(text, variables);
    parseSignal(config.StopSignal); // which throws for what is no signal
  },
  USER: (config, text, variables) => {
    config.User = expandText(text, variables);
  },
  VOLUME: (config, text, variables) => {
    const paths = execForm(text) ?? splitWords(text, variables);
    if (paths.some((path) => path.trim() === '')) throw wrong('an empty path');
    config.Volumes = { ...config.Volumes, ...emptyObjects(paths) };
  },
  WORKDIR: (config, text, variables) => {
    config.WorkingDir = resolveFrom(config.WorkingDir ?? '/', expandText(text, variables));
  },
};

/**
 * Carries out Dockerfile instructions on an empty configuration: those `docker import --change`
 * takes. Variables are those that ENV before has set.
 * @throws {HatobaError} invalid-argument naming the change
 */
export function applyChanges(changes: readonly string[]): ChangedConfig {
  const config: ChangedConfig = {};
  for (const change of changes) {
    try {
      applyChange(config, change.trim());
    } catch (error) {
      throw new HatobaError('invalid-argument', `change "${change}": ${describeError(error)}`);
    }
  }
  return config;
}

function applyChange(config: ChangedConfig, change: string): void {
  const [word = ''] = change.split(/\s/, 1);
  const apply = CHANGES[word.toUpperCase()];
  if (apply === undefined) {
    throw wrong(`it must begin with one of ${Object.keys(CHANGES).join(', ')}`);
  }
  const text = change.slice(word.length).trim();
  if (text === '') throw wrong('nothing follows the instruction');
  const env = new Map(splitEnv(config.Env));
  apply(config, text, (name) => env.get(name));
}

/** The exec form is a JSON list of texts; everything else is a line for the shell. */
function commandOf(text: string): string[] {
  return execForm(text) ?? ['/bin/sh', '-c', text];
}

function execForm(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const list: unknown = JSON.parse(text);
    const isTexts = Array.isArray(list) && list.every((item) => typeof item === 'string');
    return isTexts ? list : undefined;
  } catch {
    return undefined; // as Docker does: then it is the shell's to understand
  }
}

/** `NAME=value NAME2="value 2"`, or of old `NAME all the rest`. */
function pairs(text: string, variables: Variables): [string, string][] {
  const [first = ''] = text.split(/\s/, 1);
  if (!first.includes('=')) {
    const value = text.slice(first.length).trim();
    if (value === '') throw wrong(`"${first}" has no value: write ${first}=value`);
    return [[expandText(first, variables), expandText(value, variables)]];
  }
  return splitWords(text, variables).map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw wrong(`"${word}" is not NAME=value`);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

function splitEnv(env: readonly string[] = []): [string, string][] {
  return env.map((entry) => {
    const at = entry.indexOf('=');
    return [entry.slice(0, at), entry.slice(at + 1)];
  });
}

const PORT = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/;
const MAX_PORT = 65_535;

/** "80", "80/udp" or "8000-8010/tcp". */
function portsOf(word: string): string[] {
  const [, from = '', to = from, protocol = 'tcp'] = PORT.exec(word.toLowerCase()) ?? [];
  const [low, high] = [Number(from), Number(to)];
  if (from === '' || low < 1 || high > MAX_PORT || low > high) {
    throw wrong(`"${word}" is no port like 80, 53/udp or 8000-8010/tcp`);
  }
  return Array.from({ length: high - low + 1 }, (_, i) => `${low + i}/${protocol}`);
}

function emptyObjects(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

/** A path that does not begin with "/" goes on from the one before. */
function resolveFrom(base: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${base}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function wrong(why: string): HatobaError {
  return new HatobaError('invalid-argument', why);
}
