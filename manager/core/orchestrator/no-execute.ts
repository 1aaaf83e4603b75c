import type { Node } from '../../../common/model/objects.js';
import { TaintEffect, type Taint, type Toleration } from '../../../proto/gen/hatoba/v1/types.js';
import { isTolerated } from '../scheduler/taints.js';

/**
 * A NO_EXECUTE taint of a node that the tolerations do not cover, or not any more.
 * @param isPast whether a time has come; if not, it is asked again then
 */
export function noExecuteTaint(
  node: Node,
  tolerations: readonly Toleration[],
  isPast: (atMs: number) => boolean,
): Taint | undefined {
  return node.spec.taints.find(
    (t) => t.effect === TaintEffect.NO_EXECUTE && isPast(toleratedUntil(t, tolerations)),
  );
}

function toleratedUntil(taint: Taint, tolerations: readonly Toleration[]): number {
  const ends = tolerations
    .filter((t) => isTolerated(taint, [t]))
    .map((t) => (t.tolerationMs === undefined ? Infinity : taint.addedAtMs + t.tolerationMs));
  return Math.max(-Infinity, ...ends);
}
