import { randomUUID } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';

/**
 * Replaces a file in one step: a reader, or a crash, sees the old content or the new. Not synced
 * to the disk: what these files describe (processes, namespaces) does not survive a loss of power
 * either.
 * @param mode of the new file, default 0600
 */
export async function replaceFile(
  path: string,
  content: Uint8Array | string,
  mode = 0o600,
): Promise<void> {
  const draft = `${path}.${randomUUID()}${DRAFT_SUFFIX}`;
  try {
    await writeFile(draft, content, { mode });
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** Ends the names of files that a crash may leave behind. */
export const DRAFT_SUFFIX = '.new';
