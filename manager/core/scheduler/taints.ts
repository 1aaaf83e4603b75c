import type { Node } from '../../../common/model/objects.js';
import { TaintEffect, type Taint, type Toleration } from '../../../proto/gen/hatoba/v1/types.js';

/**
 * The taints of a node that keep a task from being placed there. To tolerate NO_EXECUTE for some time is
 * for tasks that are there: one that comes would have to leave again, over and over.
 */
export function repellingTaints(node: Node, tolerations: readonly Toleration[]): Taint[] {
  if (node.spec.taints.length === 0) return [];
  const lasting = tolerations.filter((t) => t.tolerationMs === undefined);
  return node.spec.taints.filter((taint) => {
    if (taint.effect === TaintEffect.PREFER_NO_SCHEDULE) return false;
    return !isTolerated(taint, taint.effect === TaintEffect.NO_EXECUTE ? lasting : tolerations);
  });
}

/** How many taints would rather have the task elsewhere. */
export function unwelcomeTaints(node: Node, tolerations: readonly Toleration[]): number {
  if (node.spec.taints.length === 0) return 0;
  return node.spec.taints.filter(
    (t) => t.effect === TaintEffect.PREFER_NO_SCHEDULE && !isTolerated(t, tolerations),
  ).length;
}

export function isTolerated(taint: Taint, tolerations: readonly Toleration[]): boolean {
  return tolerations.some(
    ({ key, value, effect }) =>
      (key === '' || key === taint.key) &&
      (value === '' || value === taint.value) &&
      (effect === undefined || effect === taint.effect),
  );
}

/** "gpu=yes", "maintenance" */
export function taintText({ key, value }: Taint): string {
  return value === '' ? key : `${key}=${value}`;
}
