import { HatobaError } from '../../common/errors.js';
import type { ContainerSpec } from '../../proto/gen/hatoba/v1/types.js';
import type { ImageConfig } from './image-config.js';

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Where the init program is mounted: on the container's own /dev, so no layer is touched. */
export const INIT_PATH = '/dev/hatoba-init';

/**
 * What runs, as Docker decides it: `command` replaces the image's entrypoint and discards its
 * command; `args` replace the image's command.
 * @throws {HatobaError} invalid-argument when nothing is left to run
 */
export function planArgs(
  spec: Pick<ContainerSpec, 'command' | 'args' | 'init'>,
  image: Pick<ImageConfig, 'entrypoint' | 'cmd'>,
): readonly string[] {
  const entrypoint = spec.command.length > 0 ? spec.command : image.entrypoint;
  const imageCmd = spec.command.length > 0 ? [] : image.cmd;
  const args = [...entrypoint, ...(spec.args.length > 0 ? spec.args : imageCmd)];
  if (args[0] === undefined || args[0] === '') {
    throw new HatobaError(
      'invalid-argument',
      'nothing to run: neither the image nor the container gives a command',
    );
  }
  return spec.init ? [INIT_PATH, '--', ...args] : args;
}

/**
 * The environment, in order: PATH, HOSTNAME, TERM, the image's, the container's; later wins, and a
 * name without "=" takes the variable away. HOME is the user's unless one of them sets it.
 */
export function planEnv(options: {
  image: readonly string[];
  own: readonly string[];
  hostname: string;
  home: string;
  tty: boolean;
}): readonly string[] {
  const base = [DEFAULT_PATH, `HOSTNAME=${options.hostname}`];
  if (options.tty) base.push('TERM=xterm');
  const merged = mergeEnv(base, options.image, options.own);
  return merged.some((e) => e.startsWith('HOME=')) ? merged : [...merged, `HOME=${options.home}`];
}

/** Later lists win; the place of a name is where it first appeared. */
export function mergeEnv(...lists: readonly (readonly string[])[]): readonly string[] {
  const byName = new Map<string, string>();
  for (const entry of lists.flat()) {
    const equals = entry.indexOf('=');
    if (equals < 0) byName.delete(entry);
    else byName.set(entry.slice(0, equals), entry);
  }
  return [...byName.values()];
}

/**
 * The working directory: the container's, else the image's, else "/".
 * @throws {HatobaError} invalid-argument for a relative path
 */
export function planCwd(dir: string, imageDir: string): string {
  const cwd = dir !== '' ? dir : imageDir !== '' ? imageDir : '/';
  if (!cwd.startsWith('/')) {
    throw new HatobaError('invalid-argument', `working directory "${cwd}" must begin with "/"`);
  }
  return cwd;
}

/** Whether stdin ends with its client; a terminal stays open for those who come later. */
export function stdinEndsWithClient(spec: Pick<ContainerSpec, 'stdinOnce' | 'tty'>): boolean {
  return spec.stdinOnce && !spec.tty;
}
