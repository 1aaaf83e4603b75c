import { hexOf, type Digest } from './digest.js';

/**
 * The name of an unpacked layer: the hexadecimal SHA-256 of its uncompressed tar (its diff ID).
 * What a layer unpacks to depends on nothing below it, so images that hold the same layer at
 * different depths share one folder.
 */
export type LayerId = string & { readonly __brand: 'LayerId' };

/** The layer a diff ID names. */
export function layerIdOf(diffId: Digest): LayerId {
  return hexOf(diffId) as LayerId;
}

/**
 * The layers to stack for an image, bottom first, each once. overlayfs refuses one folder twice
 * ("ELOOP"), and images do repeat layers (the empty one above all). Of a repeated layer only the
 * topmost place counts: whatever the lower one would show, hide or delete, the upper one shows,
 * hides or deletes too.
 * @param diffIds bottom first, as in the image's configuration
 */
export function layerChain(diffIds: readonly Digest[]): readonly LayerId[] {
  const chain: LayerId[] = [];
  const seen = new Set<LayerId>();
  for (const diffId of diffIds.toReversed()) {
    const id = layerIdOf(diffId);
    if (!seen.has(id)) chain.push(id);
    seen.add(id);
  }
  return chain.reverse();
}
