import { readdir, rename, rm } from 'node:fs/promises';
import { errnoOf } from '../../common/errors.js';

/** Half of PATH_MAX: what lies deeper is moved up before it is deleted. */
const MAX_PATH_BYTES = 2048;

/**
 * Deletes a folder with all below it; one that is not there is success. Unlike rm() of Node it
 * copes with folders nested deeper than a path may be long, which any container can make by `mkdir`
 * and `cd`. Nobody else may write to it.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (errnoOf(error) !== 'ENAMETOOLONG') throw error;
    await flatten(path);
    await rm(path, { recursive: true, force: true });
  }
}

/** Moves every folder whose path is too long to the top. Names are bytes, not always UTF-8. */
async function flatten(top: string): Promise<void> {
  const folders: Buffer[] = [Buffer.from(top)];
  let moved = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(folder, { encoding: 'buffer', withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const path = Buffer.concat([folder, Buffer.from('/'), entry.name]);
      if (path.length <= MAX_PATH_BYTES) {
        folders.push(path);
        continue;
      }
      let target: string;
      do target = `${top}/.deep-${++moved}`;
      while (!(await tryRename(path, target)));
      folders.push(Buffer.from(target));
    }
  }
}

/** @returns false when the name is taken */
async function tryRename(from: Buffer, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (['EEXIST', 'ENOTEMPTY', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}
