import type { NodeView } from '../node-view.js';

/** One reason why a node may not take a task of a class, made for that class. */
export interface Check {
  fits(view: NodeView): boolean;
  /**
   * What nodes that fail have in common, after "2 of 3 nodes", and which change would help:
   * "lack resources (needs 4 CPUs; the largest free is n2 with 2.5)".
   */
  explain(failed: readonly NodeView[]): string;
  /**
   * Set where placing a task of the class may make nodes fit that did not: nodes that agree in the
   * values of these keys fit, or not, together. All other checks only ever get stricter in a pass.
   */
  readonly shiftsWith?: readonly string[];
  /**
   * Set with shiftsWith where a task may even make a difference for nodes of other values: what
   * those are compared with. As long as it stays the same, so do they.
   */
  readonly baseline?: () => number;
}

export function passesAll(checks: readonly Check[], view: NodeView): boolean {
  for (const check of checks) if (!check.fits(view)) return false;
  return true;
}

/** The nodes that pass all checks, and the others by the first check that they fail. */
export function sortOut(
  all: readonly NodeView[],
  checks: readonly Check[],
): { views: NodeView[]; failures: Map<Check, NodeView[]> } {
  const views: NodeView[] = [];
  const failures = new Map<Check, NodeView[]>();
  for (const view of all) {
    const failed = checks.find((check) => !check.fits(view));
    if (failed === undefined) views.push(view);
    else if (!failures.get(failed)?.push(view)) failures.set(failed, [view]);
  }
  return { views, failures };
}

/** "lacks" for one node, "lack" for several. */
export function verb(failed: readonly NodeView[], one: string, many: string): string {
  return failed.length === 1 ? one : many;
}

/** The first few of a list. */
export function shortened(items: readonly string[]): string {
  return items.length > 3 ? `${items.slice(0, 3).join(', ')}, …` : items.join(', ');
}
