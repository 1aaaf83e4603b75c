import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';

const MAX_LINKS = 40;

/**
 * Where a path of a container lies on the host, following the links of the image inside the root
 * only: "/etc" → "../../../etc" stays below `rootDir`. Only for a root in which nothing runs yet;
 * a running container could change a link between this look and the use.
 * @returns the host path; its last parts may not exist
 * @throws {HatobaError} invalid-argument for a loop of links
 */
export function resolveInRoot(rootDir: string, path: string): string {
  const todo = path.split('/').toReversed();
  const done: string[] = [];
  let links = 0;
  for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const link = readLink([rootDir, ...done, part].join('/'));
    if (link === undefined) {
      done.push(part);
      continue;
    }
    if (++links > MAX_LINKS) {
      throw new HatobaError('invalid-argument', `${path} in the image is a loop of symbolic links`);
    }
    if (link.startsWith('/')) done.length = 0;
    todo.push(...link.split('/').toReversed());
  }
  return [rootDir, ...done].join('/');
}

/** A small text file of the image; empty when it has none, or when it is no ordinary file. */
export function readInRoot(rootDir: string, path: string, maxBytes: number): string {
  const file = resolveInRoot(rootDir, path);
  let fd: number;
  try {
    // Not blocking: an image may hold a fifo here.
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(errnoOf(error) ?? '')) return '';
    throw error;
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) return '';
    if (stat.size > maxBytes) {
      throw new HatobaError(
        'invalid-argument',
        `${path} of the image has ${stat.size} bytes; at most ${maxBytes} are read`,
      );
    }
    const buffer = Buffer.alloc(stat.size);
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, stat.size, 0));
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder of the container if it is missing, inside the root only. */
export function makeFolderInRoot(rootDir: string, path: string): void {
  const folder = resolveInRoot(rootDir, path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
  } catch (error) {
    if (!['EEXIST', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error;
    throw new HatobaError('invalid-argument', `working directory ${path} is a file in the image`, {
      cause: error,
    });
  }
}

function readLink(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
