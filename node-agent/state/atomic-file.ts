import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';

/** Ends the names of files that a crash may leave behind. */
export const DRAFT_SUFFIX = '.new';

/**
 * Replaces a file in one step, mode 0600: a reader, or a crash of the agent, sees the old content
 * or the new.
 * @param options.durable also survives a loss of power. Not for what describes processes and
 *   namespaces: those do not survive it either.
 */
export async function replaceFile(
  path: string,
  content: Uint8Array | string,
  options: { durable?: boolean } = {},
): Promise<void> {
  const draft = `${path}.${randomUUID()}${DRAFT_SUFFIX}`;
  try {
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(content);
      if (options.durable === true) await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
