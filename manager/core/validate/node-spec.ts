import type { Node } from '../../../common/model/objects.js';
import { toWord } from '../../../common/model/words.js';
import { NodeRole, type NodeSpec, type Taint } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import { Problems, type Problem } from './problem.js';

const NAME = /^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$/;
/** As constraints, compose files and the command line can name it. */
const LABEL_KEY = /^[^\s=!<>\p{Cc}]{1,253}$/u;
const LABEL_VALUE = /^[^\p{Cc}]{0,1024}$/u;
/** As "KEY=VALUE:EFFECT" can name it. */
const TAINT_KEY = /^[^\s=:\p{Cc}]{1,253}$/u;
const TAINT_VALUE = /^[^\s=:\p{Cc}]{0,253}$/u;
/** Each manager and the scheduler hold them for every node. */
const MOST_LABELS = 200;
const MOST_TAINTS = 50;

/**
 * All that is wrong with the spec a node is to have.
 * @param nodes all of the cluster
 */
export function nodeSpecProblems(
  node: Node,
  spec: NodeSpec,
  nodes: Iterable<Node>,
): readonly Problem[] {
  const problems = new Problems();
  const all = [...nodes];
  checkRole(node, spec.role, all, problems.at('role'));
  checkNodeName(node, spec.name, all, problems.at('name'));
  checkLabels(spec.labels, problems.at('labels'));
  checkTaints(spec.taints, problems);
  return problems.list;
}

/** Roles are in certificates, and a second manager needs a second member of the store. */
function checkRole(node: Node, role: NodeRole, nodes: readonly Node[], problems: Problems): void {
  if (role === node.spec.role) return;
  const label = nodeLabel(node);
  const managers = nodes.filter((n) => n.spec.role === NodeRole.MANAGER).length;
  if (role === NodeRole.WORKER && managers <= 1) {
    const why = 'it is the only manager, and without one nothing in the cluster can be changed';
    problems.add(`${label} cannot become a worker: ${why}`, 'failed-precondition');
    return;
  }
  const change = `${label} is a ${toWord(node.spec.role)} and cannot become a ${toWord(role)}`;
  problems.add(
    `${change}: a cluster cannot change its managers in this version; ` +
      'a machine joins with the role of its token',
    'unimplemented',
  );
}

function checkNodeName(node: Node, name: string, nodes: readonly Node[], problems: Problems): void {
  if (name === '') return;
  problems.require(
    NAME.test(name),
    `${JSON.stringify(name)} must be 1–63 letters, digits, ".", "_" or "-"`,
  );
  const other = nodes.find((n) => n.id !== node.id && nodeLabel(n) === name);
  if (other !== undefined) {
    problems.add(`node ${other.id} is called "${name}" already`, 'already-exists');
  }
}

function checkLabels(labels: Readonly<Record<string, string>>, problems: Problems): void {
  const entries = Object.entries(labels);
  problems.require(
    entries.length <= MOST_LABELS,
    `${entries.length} are more than the ${MOST_LABELS} that a node may have`,
  );
  for (const [key, value] of entries) {
    problems.require(
      LABEL_KEY.test(key),
      `${shown(key)} is not the name of a label: 1–253 characters, no blanks and none of = ! < >`,
    );
    problems.require(
      LABEL_VALUE.test(value),
      `the value of ${shown(key)} is longer than 1024 characters or has control characters`,
    );
  }
}

function checkTaints(taints: readonly Taint[], problems: Problems): void {
  problems
    .at('taints')
    .require(
      taints.length <= MOST_TAINTS,
      `${taints.length} are more than the ${MOST_TAINTS} that a node may have`,
    );
  const seen = new Set<string>();
  taints.forEach(({ key, value, effect }, i) => {
    const at = problems.at(`taints[${i}]`);
    at.at('key').require(
      TAINT_KEY.test(key),
      `${shown(key)} is not the key of a taint: 1–253 characters, no blanks and none of = :`,
    );
    at.at('value').require(
      TAINT_VALUE.test(value),
      `${shown(value)} is not the value of a taint: at most 253 characters, no blanks and none of = :`,
    );
    const same = `${key}:${effect}`;
    at.require(
      !seen.has(same),
      `there is another taint ${shown(key)} with the effect ${toWord(effect)}: one of them is enough`,
    );
    seen.add(same);
  });
}

/** As much of it as a message has room for, control characters escaped. */
function shown(text: string): string {
  return JSON.stringify(text.length <= 60 ? text : `${text.slice(0, 57)}…`);
}
