import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HatobaError, errnoOf } from '../../common/errors.js';
import { isDigest, type Digest } from '../core/digest.js';
import { asArray, asObject, asString, parseJson } from '../core/json-fields.js';

/**
 * Diff IDs of the layers below all snapshots, mounted or not, whichever snapshotter made them (see
 * SnapshotFolders). One that is going, or that a power cut has torn, counts no more: it cannot be
 * mounted either.
 * @param root the engine's root
 */
export async function layersInUse(root: string): Promise<Digest[]> {
  const dir = join(root, 'snapshots');
  const used = new Set<Digest>();
  for (const name of await readdir(dir)) {
    for (const diffId of await chainOf(join(dir, name, 'snapshot.json'))) used.add(diffId);
  }
  return [...used];
}

async function chainOf(file: string): Promise<Digest[]> {
  try {
    const chain = asArray(asObject(parseJson(await readFile(file), file), file)['chain'], file);
    return chain.map((id) => `sha256:${asString(id, file)}`).filter(isDigest);
  } catch (error) {
    if (error instanceof HatobaError) return [];
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}
