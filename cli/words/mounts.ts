import type { HatobaError } from '../../common/errors.js';
import { parseBytes } from '../../common/bytes.js';
import { Mount, MountType, type Mount as MountConfig } from '../../proto/gen/hatoba/v1/types.js';
import { splitOnce } from '../../common/split-once.js';
import { wrong } from './wrong.js';

/** The words in which people name mounts, in compose files and on the command line. */

export const PROPAGATION_WORDS = [
  'rprivate',
  'private',
  'rshared',
  'shared',
  'rslave',
  'slave',
] as const;

/** The later ones say something on a Mac or with SELinux only, and are in many files. */
const MOUNT_FLAGS = ['ro', 'rw', 'nocopy', 'z', 'Z', 'cached', 'delegated', 'consistent'];

/**
 * The short form: "data:/var/lib/x:ro", "./conf:/etc/x", "/anonymous".
 * @param baseDir absolute folder for "./data"
 * @throws {HatobaError} invalid-argument
 */
export function parseVolume(text: string, baseDir: string): MountConfig {
  const parts = text.split(':');
  const [source = '', target = '', options = ''] = parts.length === 1 ? ['', text] : parts;
  if (parts.length > 3 || !target.startsWith('/')) {
    throw wrong(`"${text}" is not a mount like "data:/var/lib/data" or "./conf:/etc/conf:ro"`);
  }
  const flags = options.split(',').filter((o) => o !== '');
  const propagation = PROPAGATION_WORDS.find((p) => flags.includes(p)) ?? '';
  const unknown = flags.find((f) => ![...MOUNT_FLAGS, propagation].includes(f));
  if (unknown !== undefined) throw wrong(`unknown mount option "${unknown}"`);
  const readOnly = flags.includes('ro');
  if (/^[./~]/.test(source)) {
    return Mount.fromPartial({
      type: MountType.BIND,
      source: hostPath(source, baseDir),
      target,
      readOnly,
      // the short form makes a missing folder, as docker does
      bindOptions: { propagation, createMountpoint: true },
    });
  }
  return Mount.fromPartial({
    type: MountType.VOLUME,
    source,
    target,
    readOnly,
    volumeOptions: { noCopy: flags.includes('nocopy') },
  });
}

/**
 * "type=bind,source=/srv,target=/data,readonly": `docker run --mount`.
 * @throws {HatobaError} invalid-argument
 */
export function parseMount(text: string, baseDir: string): MountConfig {
  const words = new Words(text);
  const type = words.take('type') ?? 'volume';
  const source = words.take('source', 'src') ?? '';
  const target = words.take('target', 'dst', 'destination') ?? '';
  const readOnly = words.takeBoolean('readonly', 'ro');
  words.take('consistency'); // of Docker Desktop; has no meaning on Linux
  if (!target.startsWith('/')) throw words.wrong('needs "target", an absolute path');
  const mount = Mount.fromPartial({ source, target, readOnly, ...optionsOf(type, words) });
  if (mount.type === MountType.BIND) {
    if (source === '') throw words.wrong('needs "source", a path on the host');
    mount.source = hostPath(source, baseDir);
  }
  if (mount.type === MountType.TMPFS && source !== '') throw words.wrong('a tmpfs has no source');
  words.end();
  return mount;
}

function optionsOf(type: string, words: Words): Partial<MountConfig> {
  switch (type) {
    case 'bind': {
      const propagation = words.take('bind-propagation') ?? '';
      const known: readonly string[] = ['', ...PROPAGATION_WORDS];
      if (!known.includes(propagation)) throw words.wrong(`unknown propagation "${propagation}"`);
      return { type: MountType.BIND, bindOptions: { propagation, createMountpoint: false } };
    }
    case 'volume':
      return {
        type: MountType.VOLUME,
        volumeOptions: {
          noCopy: words.takeBoolean('volume-nocopy'),
          labels: words.takePairs('volume-label'),
          driver: words.take('volume-driver') ?? '',
          driverOpts: words.takePairs('volume-opt'),
        },
      };
    case 'tmpfs':
      return {
        type: MountType.TMPFS,
        tmpfsOptions: {
          sizeBytes: parseBytes(words.take('tmpfs-size') ?? '0'),
          mode: parseInt(words.take('tmpfs-mode') ?? '0', 8),
        },
      };
    default:
      throw words.wrong(`type must be bind, volume or tmpfs, not "${type}"`);
  }
}

/**
 * "/run:size=64m,mode=1777,ro": `docker run --tmpfs`.
 * @throws {HatobaError} invalid-argument
 */
export function parseTmpfs(text: string): MountConfig {
  const [target, options = ''] = splitOnce(text, ':');
  if (!target.startsWith('/')) {
    throw wrong(`"${text}" is not a tmpfs like "/run" or "/tmp:size=64m,mode=1777"`);
  }
  const words = new Words(options);
  const sizeBytes = parseBytes(words.take('size') ?? '0');
  const mode = parseInt(words.take('mode') ?? '0', 8);
  const readOnly = words.takeBoolean('ro');
  for (const usual of ['rw', 'noexec', 'nosuid', 'nodev']) words.takeBoolean(usual);
  words.end();
  return Mount.fromPartial({
    type: MountType.TMPFS,
    target,
    readOnly,
    tmpfsOptions: { sizeBytes, mode },
  });
}

/** Absolute, without "." and "..". */
export function hostPath(path: string, baseDir: string): string {
  if (path.startsWith('/')) return path;
  const parts = [...baseDir.split('/'), ...path.split('/')];
  const result: string[] = [];
  for (const part of parts) {
    if (part === '..') result.pop();
    else if (part !== '.' && part !== '') result.push(part);
  }
  return `/${result.join('/')}`;
}

/** "key=value,flag,…", taken one by one; what is left in the end is a mistake. */
class Words {
  readonly #text: string;
  readonly #pairs: [key: string, value: string | undefined][];

  constructor(text: string) {
    this.#text = text;
    this.#pairs = text
      .split(',')
      .filter((word) => word !== '')
      .map((word) => {
        const [key, value] = splitOnce(word, '=');
        return [key.trim().toLowerCase(), value];
      });
  }

  take(...keys: readonly string[]): string | undefined {
    return this.#takeAll(keys).at(-1) ?? undefined;
  }

  takeBoolean(...keys: readonly string[]): boolean {
    const value = this.#takeAll(keys).at(-1);
    if (value === undefined) return false;
    if (!['', 'true', '1', 'false', '0'].includes(value)) {
      throw this.wrong(`${keys[0] ?? ''} must be true or false`);
    }
    return !['false', '0'].includes(value);
  }

  takePairs(key: string): Record<string, string> {
    return Object.fromEntries(
      this.#takeAll([key]).map((pair) => {
        const [name, value = ''] = splitOnce(pair, '=');
        return [name, value];
      }),
    );
  }

  end(): void {
    const [left] = this.#pairs;
    if (left !== undefined) throw this.wrong(`unknown option "${left[0]}"`);
  }

  wrong(message: string): HatobaError {
    return wrong(`mount "${this.#text}": ${message}`);
  }

  #takeAll(keys: readonly string[]): string[] {
    const found: string[] = [];
    for (let i = this.#pairs.length - 1; i >= 0; i--) {
      const [key, value] = this.#pairs[i] ?? ['', undefined];
      if (!keys.includes(key)) continue;
      found.unshift(value ?? '');
      this.#pairs.splice(i, 1);
    }
    return found;
  }
}
