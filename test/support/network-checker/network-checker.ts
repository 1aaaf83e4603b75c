import { describeError } from '../../../common/errors.js';
import type { Node, Task } from '../../../common/model/objects.js';
import type { ControlClient } from '../../../proto/gen/hatoba/v1/control.js';
import { openControl, readObjects, type ClusterObjects } from './cluster-objects.js';
import { expectedFacts } from './expected-facts.js';
import { kernelFacts } from './kernel-facts.js';
import { nameChecks, wrongNames } from './name-facts.js';

/** How long the nodes may take to show what the store says. */
const WITHIN_MS = 10_000;

export interface CheckerOptions {
  /** Hosts that cannot be told anything now: killed, cut off, without their agent. */
  without?: ReadonlySet<string>;
  withinMs?: number;
}

/**
 * Waits until the kernel and the names of every host of a dev cluster are what the store says, entry
 * by entry, and nothing else of ours is there.
 * @returns how long it took, in milliseconds
 * @throws with every difference of the last comparison
 */
export async function checkNetworks(
  control: ControlClient,
  options: CheckerOptions = {},
): Promise<number> {
  const { withinMs = WITHIN_MS } = options;
  const startedAtMs = performance.now();
  for (;;) {
    // a comparison takes a while, and says nothing of what came to be after its beginning
    const sinceMs = performance.now() - startedAtMs;
    const differences = await compareOrSay(control, options.without);
    if (differences.length === 0) return performance.now() - startedAtMs;
    if (sinceMs > withinMs) {
      throw new Error(
        `after ${Math.round(sinceMs)} ms the hosts differ from the store:\n${differences.join('\n')}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Waits, as long as a slow machine needs, until every host of a dev cluster shows what the store says. */
export async function untilNetworksShown(): Promise<void> {
  const control = openControl();
  try {
    await checkNetworks(control, { withinMs: 60_000 });
  } finally {
    control.close();
  }
}

/** What cannot be read just now, as a table that is being made, is a difference like others. */
async function compareOrSay(
  control: ControlClient,
  without?: ReadonlySet<string>,
): Promise<string[]> {
  try {
    return await compareNetworks(control, without);
  } catch (error) {
    return [`no comparison: ${describeError(error)}`];
  }
}

/** Every difference between the store and the hosts now: "n2: is missing: fdb …". */
export async function compareNetworks(
  control: ControlClient,
  without: ReadonlySet<string> = new Set(),
): Promise<string[]> {
  const objects = await readObjects(control);
  const nodes = objects.nodes.filter((n) => !without.has(n.description.hostname));
  const perNode = await Promise.all(nodes.map((node) => compareNode(objects, node)));
  return perNode.flat();
}

async function compareNode(objects: ClusterObjects, node: Node): Promise<string[]> {
  const host = node.description.hostname;
  const tasks = objects.tasks.filter((t: Task) => t.nodeId === node.id);
  const { certain, open } = expectedFacts(objects, node);
  const actual = await kernelFacts(host, tasks);
  const names = await Promise.all(nameChecks(objects, node).map(wrongNames));
  const missing = [...certain].filter((fact) => !actual.has(fact));
  const extra = [...actual].filter((fact) => !certain.has(fact) && !open.has(fact));
  return [
    ...missing.map((fact) => `${host}: is missing: ${fact}`),
    ...extra.map((fact) => `${host}: should not be: ${fact}`),
    ...names.flat().map((text) => `${host}: ${text}`),
  ];
}
