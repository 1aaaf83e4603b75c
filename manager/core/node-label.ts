import type { Node } from '../../common/model/objects.js';

/** How listings and messages call a node. */
export function nodeLabel({ id, spec, description }: Node): string {
  return spec.name || description.hostname || id;
}
