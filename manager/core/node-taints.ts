import type { NodeSpec, Taint } from '../../proto/gen/hatoba/v1/types.js';

/** The spec with the time at which each of its taints came to the node; those it had before keep theirs. */
export function withTaintTimes(before: NodeSpec, after: NodeSpec, nowMs: number): NodeSpec {
  const taints = after.taints.map((taint) => {
    const known = before.taints.find((t) => isSame(t, taint));
    return { ...taint, addedAtMs: known?.addedAtMs ?? nowMs };
  });
  return { ...after, taints };
}

function isSame(a: Taint, b: Taint): boolean {
  return a.key === b.key && a.value === b.value && a.effect === b.effect;
}
