import { open, rename, rm } from 'node:fs/promises';
import { HatobaError, errnoOf } from '../../common/errors.js';

/** Marks a file being written; after a crash such a file is nothing and may be deleted. */
export const DRAFT_SUFFIX = '.draft';

/** Makes what was renamed or created in a folder last through a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes a new file and waits until it is on disk. */
export async function writeDurably(path: string, bytes: string | Uint8Array): Promise<void> {
  const handle = await open(path, 'w', 0o644);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Replaces a file in one step: readers, also after a crash, see the old content or the new.
 * @throws {HatobaError} resource-exhausted without disk space
 */
export async function replaceDurably(
  directory: string,
  name: string,
  bytes: string | Uint8Array,
): Promise<void> {
  const path = `${directory}/${name}`;
  try {
    await writeDurably(path + DRAFT_SUFFIX, bytes);
    await rename(path + DRAFT_SUFFIX, path);
  } catch (error) {
    await rm(path + DRAFT_SUFFIX, { force: true });
    throw explainFullDisk(error, directory);
  }
  await syncDirectory(directory);
}

/** Says of a write for which there was no space where it was; other errors stay as they are. */
export function explainFullDisk(error: unknown, folder: string): unknown {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (['ENOSPC', 'EDQUOT'].includes(errnoOf(e) ?? '')) {
      const text = `no space left in ${folder}: remove what is not needed, \`hatoba system df\` shows what there is`;
      return new HatobaError('resource-exhausted', text);
    }
  }
  return error;
}
