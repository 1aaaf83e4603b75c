import { parseDurationMs } from '../../common/duration.js';
import { HatobaError } from '../../common/errors.js';

/** As an image's configuration has it: times in nanoseconds. */
export interface HealthcheckConfig {
  Test: string[];
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

const NANOS_PER_MS = 1_000_000;

const DURATIONS = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
} as const;

/**
 * The arguments of HEALTHCHECK: `NONE`, or flags (`--interval=30s`, `--retries=3` …) and
 * `CMD command`.
 * @param commandOf reads the command's exec or shell form
 * @throws {HatobaError} invalid-argument
 */
export function parseHealthChange(
  text: string,
  commandOf: (text: string) => string[],
): HealthcheckConfig {
  const check: Partial<HealthcheckConfig> = {};
  let rest = text;
  for (let flag = /^--(\S+)\s*/.exec(rest); flag !== null; flag = /^--(\S+)\s*/.exec(rest)) {
    setFlag(check, flag[1] ?? '');
    rest = rest.slice(flag[0].length);
  }
  const [word = ''] = rest.split(/\s/, 1);
  const command = rest.slice(word.length).trim();
  if (word.toUpperCase() === 'NONE' && command === '' && rest === text) return { Test: ['NONE'] };
  if (word.toUpperCase() !== 'CMD' || command === '') {
    throw wrong('HEALTHCHECK wants NONE, or flags and CMD with a command');
  }
  return { ...check, Test: testOf(command, commandOf) };
}

/** A line for the image's own shell is told apart from a program with arguments. */
function testOf(command: string, commandOf: (text: string) => string[]): string[] {
  const words = commandOf(command);
  const isShell = words.length === 3 && words[1] === '-c' && words[2] === command;
  return isShell ? ['CMD-SHELL', command] : ['CMD', ...words];
}

function setFlag(check: Partial<HealthcheckConfig>, flag: string): void {
  const at = flag.indexOf('=');
  const [name, value] = [flag.slice(0, at), flag.slice(at + 1)];
  if (name === 'retries') {
    if (!/^\d{1,9}$/.test(value)) throw wrong(`--retries=${value} is no count`);
    check.Retries = Number(value);
    return;
  }
  if (!isDuration(name)) {
    const known = [...Object.keys(DURATIONS), 'retries'].map((word) => `--${word}=`);
    throw wrong(`"--${flag}" is none of ${known.join(', ')}`);
  }
  check[DURATIONS[name]] = parseDurationMs(value) * NANOS_PER_MS;
}

function isDuration(name: string): name is keyof typeof DURATIONS {
  return Object.hasOwn(DURATIONS, name);
}

function wrong(why: string): HatobaError {
  return new HatobaError('invalid-argument', why);
}
