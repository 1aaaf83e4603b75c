import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../common/errors.js';
import { asArray, asString, parseJson } from '../core/json-fields.js';
import type { LayerId } from '../core/layer-chain.js';

/**
 * Where unpacked layers lie below an engine's root:
 * `layers/<64 hex>/diff` the files, `layers/<64 hex>/layer.json` what was unpacked, and, in few,
 * `layers/<64 hex>/implied.json` the directories that the layer's tar says nothing of: `["usr",
 * "usr/bin"]`, as byte strings. A layer's folder appears by one rename, whole or not at all.
 */
export function layersDir(root: string): string {
  return join(root, 'layers');
}

export function layerDir(root: string, id: LayerId): string {
  return join(layersDir(root), id);
}

/** overlayfs's lower directory. */
export function layerDiffDir(root: string, id: LayerId): string {
  return join(layerDir(root, id), 'diff');
}

/** As many as a layer may have entries. */
const MAX_IMPLIED = 2_000_000;
export const IMPLIED_FILE = 'implied.json';

export function formatImplied(paths: readonly string[]): string {
  return JSON.stringify(paths);
}

/** See LayerTree.impliedDirectories; none for most layers. */
export async function readImplied(root: string, id: LayerId): Promise<readonly string[]> {
  try {
    const bytes = await readFile(join(layerDir(root, id), IMPLIED_FILE));
    const what = `${IMPLIED_FILE} of layer ${id}`;
    return asArray(parseJson(bytes, what), what, MAX_IMPLIED).map((path) => asString(path, what));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
