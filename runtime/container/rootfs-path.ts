import { closeSync, constants, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { errnoOf, HatobaError, isKind } from '../../common/errors.js';
import { RootedTree, toByteString, type TreeNode } from '../files/rooted-tree.js';

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

/**
 * A small text file of a container's root; empty when it has none, or when it is no ordinary file.
 * Also while the container runs: it cannot lead us to a file outside, nor make us wait.
 */
export function readInRoot(rootDir: string, path: string, maxBytes: number): string {
  const tree = new RootedTree(rootDir);
  let node: TreeNode | undefined;
  try {
    node = findFile(tree, path);
    if (node?.stat.isFile() !== true) return '';
    if (node.stat.size > maxBytes) {
      throw new HatobaError(
        'invalid-argument',
        `${path} of the image has ${node.stat.size} bytes; at most ${maxBytes} are read`,
      );
    }
    return readSmall(node.handle, Number(node.stat.size));
  } finally {
    node?.[Symbol.dispose]();
    tree[Symbol.dispose]();
  }
}

/** Makes a folder of the container if it is missing, inside the root only. */
export function makeFolderInRoot(rootDir: string, path: string): void {
  const tree = new RootedTree(rootDir);
  try {
    const options = { followLast: true, makeDirectories: true };
    const folder = tree.find(toByteString(path), options);
    folder[Symbol.dispose]();
    if (folder.stat.isDirectory()) return;
  } catch (error) {
    if (!isKind(error, 'failed-precondition')) throw error;
  } finally {
    tree[Symbol.dispose]();
  }
  throw new HatobaError('invalid-argument', `working directory ${path} is a file in the image`);
}

function findFile(tree: RootedTree, path: string): TreeNode | undefined {
  try {
    return tree.find(toByteString(path), { followLast: true });
  } catch (error) {
    if (isKind(error, 'not-found', 'failed-precondition')) return undefined;
    throw error;
  }
}

function readSmall(path: string, sizeBytes: number): string {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const buffer = Buffer.alloc(sizeBytes);
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, sizeBytes, 0));
  } finally {
    closeSync(fd);
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
