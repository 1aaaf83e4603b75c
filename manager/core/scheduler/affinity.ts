import { HatobaError } from '../../../common/errors.js';
import type { Task } from '../../../common/model/objects.js';
import type { Affinity } from '../../../proto/gen/hatoba/v1/types.js';
import { parseConstraint, splitExpression, type Constraint } from './constraint.js';
import { isNodeKey, KNOWN_NODE_KEYS } from './node-key.js';

/** Towards, or away from, kinds of nodes. */
export interface NodeAffinity {
  readonly kind: 'node';
  readonly constraint: Constraint;
  /** 0 = a condition. */
  readonly weight: number;
}

/** Towards, or away from, tasks of services. */
export interface ServiceAffinity {
  readonly kind: 'service';
  /** As the user wrote it. */
  readonly expression: string;
  /** "service" or "service.labels.NAME" */
  readonly key: string;
  readonly value: string;
  readonly isToward: boolean;
  /** Key of the nodes that count as the same place: "node.labels.zone"; "node.id" = the same node. */
  readonly topology: string;
  readonly weight: number;
}

export const SAME_NODE = 'node.id';
const SERVICE = 'service';
const SERVICE_LABELS = 'service.labels.';

/** @throws {HatobaError} invalid-argument that names the expression and says what would be right */
export function parseAffinity(affinity: Affinity): NodeAffinity | ServiceAffinity {
  const { expression, weight } = affinity;
  const parts = splitExpression(expression);
  if (parts === undefined) {
    throw invalid(expression, 'is not of the form service==NAME or service!=NAME');
  }
  const { key, operator, values } = parts;
  const topology = affinity.topology === '' ? SAME_NODE : affinity.topology;
  if (!isServiceKey(key)) return nodeAffinity(affinity, key);
  if (operator !== '==' && operator !== '!=') {
    throw invalid(expression, `compares with "${operator}": services are named with == or !=`);
  }
  if (!isNodeKey(topology)) {
    throw invalid(
      expression,
      `has the unknown topology "${topology}" (known are ${KNOWN_NODE_KEYS})`,
    );
  }
  const [value = ''] = values;
  const isToward = operator === '==';
  return { kind: 'service', expression: expression.trim(), key, value, isToward, topology, weight };
}

function isServiceKey(key: string): boolean {
  return key === SERVICE || (key.startsWith(SERVICE_LABELS) && key.length > SERVICE_LABELS.length);
}

function nodeAffinity({ expression, topology, weight }: Affinity, key: string): NodeAffinity {
  if (!isNodeKey(key)) {
    throw invalid(
      expression,
      `has the unknown key "${key}" (known are service, service.labels.NAME, ${KNOWN_NODE_KEYS})`,
    );
  }
  if (topology !== '') {
    throw invalid(expression, 'is about nodes, which needs no topology: leave it out');
  }
  return { kind: 'node', constraint: parseConstraint(expression), weight };
}

function invalid(expression: string, what: string): HatobaError {
  return new HatobaError('invalid-argument', `affinity "${expression}" ${what}`);
}

/** Whether a task is of those that the affinity is about. */
export function isMeant({ key, value }: ServiceAffinity, task: Task): boolean {
  if (key === SERVICE) return task.serviceName === value || task.serviceId === value;
  return task.serviceLabels[key.slice(SERVICE_LABELS.length)] === value;
}

/** Names an affinity's tasks: equal for affinities about the same ones. */
export function selectorOf({ key, value }: ServiceAffinity): string {
  return `${key}=${value}`;
}
