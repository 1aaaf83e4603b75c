import { join } from 'node:path';
import type { LayerId } from '../core/layer-chain.js';

/**
 * Where unpacked layers lie below an engine's root:
 * `layers/<64 hex>/diff` the files, `layers/<64 hex>/layer.json` what was unpacked. A layer's folder
 * appears by one rename, whole or not at all.
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
