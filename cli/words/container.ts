import type { EngineRestartPolicy } from '../../proto/gen/hatoba/v1/engine.js';
import type { Device, Ulimit } from '../../proto/gen/hatoba/v1/types.js';
import { wrong } from './wrong.js';

/** Further words of `docker run`. All throw HatobaError invalid-argument with what would be right. */

/** "nofile=1024:2048", "nproc=-1". */
export function parseUlimit(text: string): Ulimit {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (match === null) throw wrong(`"${text}" is not an ulimit like "nofile=1024:2048"`);
  const [, name = '', soft = '', hard = soft] = match;
  return { name, soft: Number(soft), hard: Number(hard) };
}

/** "/dev/fuse", "/dev/sda:/dev/xvda:r". */
export function parseDevice(text: string): Device {
  const parts = text.split(':');
  const [pathOnHost = ''] = parts;
  // "/dev/x:rw" has no path in the container
  const isAccess = parts.length === 2 && /^[rwm]+$/.test(parts[1] ?? '');
  const [pathInContainer = pathOnHost, cgroupPermissions = 'rwm'] = isAccess
    ? [pathOnHost, parts[1]]
    : parts.slice(1);
  const isRight =
    pathOnHost.startsWith('/') &&
    pathInContainer.startsWith('/') &&
    /^[rwm]{1,3}$/.test(cgroupPermissions) &&
    parts.length <= 3;
  if (!isRight) throw wrong(`"${text}" is not a device like "/dev/fuse" or "/dev/sda:/dev/xvda:r"`);
  return { pathOnHost, pathInContainer, cgroupPermissions };
}

/** "db:10.0.0.5" → "10.0.0.5 db", a line of /etc/hosts. */
export function parseHost(text: string): string {
  const match = /^([^:=\s]+)[:=](\[?[0-9a-fA-F.:]+\]?)$/.exec(text);
  if (match === null) throw wrong(`"${text}" is not a host like "db:10.0.0.5"`);
  const [, name = '', address = ''] = match;
  return `${address.replace(/^\[|\]$/g, '')} ${name}`;
}

/** "no", "always", "unless-stopped", "on-failure", "on-failure:5". */
export function parseRestart(text: string): EngineRestartPolicy {
  const match = /^(no|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(text);
  const [, name = '', count] = match ?? [];
  if (match === null || (count !== undefined && name !== 'on-failure')) {
    throw wrong(
      `"${text}" is not a restart rule: no, on-failure, on-failure:TIMES, unless-stopped or always`,
    );
  }
  return { name, maximumRetryCount: Number(count ?? 0) };
}

/** "NAME=value" → its two parts; without "=" the value is empty. */
export function parsePair(text: string, what: string): [name: string, value: string] {
  const cut = text.indexOf('=');
  const name = cut < 0 ? text : text.slice(0, cut);
  if (name === '') throw wrong(`${what} "${text}" must be like NAME=value`);
  return [name, cut < 0 ? '' : text.slice(cut + 1)];
}

/** The lines of an env-file or label-file: NAME=value, NAME, # comment. */
export function fileLines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/\r$/, '').trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'));
}
