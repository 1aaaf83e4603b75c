import type { TaskSpec } from '../../../common/model/objects.js';
import {
  TaintEffect,
  type GenericResource,
  type Toleration,
  type TopologySpread,
} from '../../../proto/gen/hatoba/v1/types.js';
import { parseAffinity } from '../scheduler/affinity.js';
import { parseConstraint } from '../scheduler/constraint.js';
import { isNodeKey, KNOWN_NODE_KEYS } from '../scheduler/node-key.js';
import type { Problems } from './problem.js';

const MOST_PRIORITY = 1000;
const MOST_WEIGHT = 100;
const KIND = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

/** Where the tasks may and should go, and what gives way to what: all mistakes at once. */
export function checkPlacement({ placement, priority }: TaskSpec, problems: Problems): void {
  problems
    .at('priority')
    .require(
      Math.abs(priority) <= MOST_PRIORITY,
      `${priority} is not between -${MOST_PRIORITY} and ${MOST_PRIORITY}`,
    );
  const at = problems.at('placement');
  placement.constraints.forEach((expression, i) => {
    at.at(`constraints[${i}]`).try(() => parseConstraint(expression));
  });
  placement.preferences.forEach(({ spreadDescriptor }, i) => {
    checkSpreadKey(spreadDescriptor, at.at(`preferences[${i}].spreadDescriptor`));
  });
  placement.affinities.forEach((affinity, i) => {
    const { weight } = affinity;
    at.at(`affinities[${i}]`).try(() => parseAffinity(affinity));
    at.at(`affinities[${i}].weight`).require(
      weight <= MOST_WEIGHT,
      `${weight} is not between 1 and ${MOST_WEIGHT}, or 0 for a condition`,
    );
  });
  checkSpreads(placement.spreads, at);
  placement.tolerations.forEach((toleration, i) => {
    checkToleration(toleration, at.at(`tolerations[${i}]`));
  });
}

/** A spread descriptor is the left side of a constraint. */
function checkSpreadKey(key: string, problems: Problems): void {
  if (!/^(node|engine)\.labels\..+$/.test(key)) {
    problems.add(`"${key}" is not of the form node.labels.NAME or engine.labels.NAME`);
  }
}

function checkSpreads(spreads: readonly TopologySpread[], problems: Problems): void {
  const seen = new Set<string>();
  spreads.forEach(({ key }, i) => {
    const at = problems.at(`spreads[${i}].key`);
    at.require(isNodeKey(key), `"${key}" is nothing to spread over (known are ${KNOWN_NODE_KEYS})`);
    at.require(!seen.has(key), `"${key}" is spread over twice`);
    seen.add(key);
  });
}

function checkToleration(toleration: Toleration, problems: Problems): void {
  const { key, value, effect, tolerationMs } = toleration;
  problems
    .at('key')
    .require(key !== '' || value === '', `the value "${value}" needs the key of its taint`);
  if (tolerationMs === undefined) return;
  const at = problems.at('tolerationMs');
  at.require(tolerationMs >= 0, `${tolerationMs} must not be negative`);
  at.require(
    effect === undefined || effect === TaintEffect.NO_EXECUTE,
    'only taints of effect no-execute can be tolerated for a time',
  );
}

/** Reservations of what nodes have beside CPUs, memory and PIDs. */
export function checkGeneric(generic: readonly GenericResource[], problems: Problems): void {
  const seen = new Set<string>();
  generic.forEach(({ kind, count, names }, i) => {
    const at = problems.at(`generic[${i}]`);
    at.at('kind').require(KIND.test(kind), `"${kind}" is not the name of a kind of resource`);
    at.at('kind').require(!seen.has(kind), `"${kind}" is reserved twice: add the counts up`);
    seen.add(kind);
    at.at('count').require(count >= 1, `${count} is less than 1`);
    at.at('names').require(
      names.length === 0,
      'which ones a task gets is chosen when it is placed: reserve a count',
    );
  });
}
