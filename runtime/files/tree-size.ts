import * as fs from 'node:fs';
import { errnoOf } from '../../common/errors.js';

/** stat(2) counts in these, whatever the blocks of the disk are. */
const STAT_BLOCK_BYTES = 512n;

/**
 * Bytes of disk that folders and all below them take, as `du` counts: blocks, files with several
 * names once. Links are not followed and other file systems not entered; what disappears meanwhile
 * counts as nothing. Synchronous file work.
 */
export function measureTrees(paths: readonly string[]): number {
  const seen = new Set<string>();
  const todo: { path: Buffer; dev: bigint | undefined }[] = paths.map((path) => ({
    path: Buffer.from(path),
    dev: undefined,
  }));
  let blocks = 0n;
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const { path, dev } = next;
    const stat = gone(() => fs.lstatSync(path, { bigint: true }));
    if (stat === undefined || (dev !== undefined && stat.dev !== dev)) continue;
    if (stat.nlink > 1n && !stat.isDirectory()) {
      const key = `${stat.dev}:${stat.ino}`;
      if (seen.has(key)) continue;
      seen.add(key);
    }
    blocks += stat.blocks;
    if (!stat.isDirectory()) continue;
    const names = gone(() => fs.readdirSync(path, { encoding: 'buffer' })) ?? [];
    for (const name of names) {
      todo.push({ path: Buffer.concat([path, Buffer.from('/'), name]), dev: stat.dev });
    }
  }
  return Number(blocks * STAT_BLOCK_BYTES);
}

function gone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
