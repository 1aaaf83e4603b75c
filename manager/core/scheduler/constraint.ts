import { HatobaError } from '../../../common/errors.js';
import type { Node } from '../../../common/model/objects.js';
import type { Placement, Platform } from '../../../proto/gen/hatoba/v1/types.js';
import { isInRange, parseIpv4Range } from './ip-range.js';
import { hasKey, isNodeKey, KNOWN_NODE_KEYS, normalArchitecture, valueOf } from './node-key.js';

export type Operator = '==' | '!=' | '<' | '>' | 'in' | 'not in' | 'exists' | 'not exists';

/** One parsed placement constraint, for example node.labels.zone in (a, b). */
export interface Constraint {
  /** As the user wrote it. */
  readonly expression: string;
  readonly key: string;
  readonly operator: Operator;
  /** One for == != < >, one or more for the lists, none for exists. */
  readonly values: readonly string[];
}

const FORMS =
  'KEY==VALUE, !=, <, >, "KEY in (A, B)", "KEY not in (A, B)", "KEY exists" or "not exists"';
const KEY = String.raw`(?<key>[^\s=!<>()]+)`;
const COMPARISON = new RegExp(String.raw`^${KEY}\s*(?<operator>==|!=|<|>)\s*(?<value>\S.*)$`, 's');
const LIST = new RegExp(
  String.raw`^${KEY}\s+(?<operator>in|not\s+in)\s*\((?<value>[^()]*)\)$`,
  's',
);
const PRESENCE = new RegExp(String.raw`^${KEY}\s+(?<operator>exists|not\s+exists)$`);

/**
 * Reads one constraint; spaces around the parts are allowed.
 * @throws {HatobaError} invalid-argument that names the expression and says what would be right
 */
export function parseConstraint(expression: string): Constraint {
  const parts = splitExpression(expression);
  if (parts === undefined) throw invalid(expression, `is not of the form ${FORMS}`);
  const { key, operator, values } = parts;
  if (!isNodeKey(key)) {
    throw invalid(expression, `has the unknown key "${key}" (known are ${KNOWN_NODE_KEYS})`);
  }
  if (values.includes('')) throw invalid(expression, 'has an empty value in its list');
  if (operator === '<' || operator === '>') checkNumber(expression, values[0] ?? '');
  const noRange =
    key === 'node.ip' ? values.find((v) => parseIpv4Range(v) === undefined) : undefined;
  if (noRange !== undefined && operator !== '<' && operator !== '>') {
    throw invalid(
      expression,
      `compares node.ip with "${noRange}", which is no IPv4 address or CIDR`,
    );
  }
  return { expression: expression.trim(), key, operator, values };
}

/** An expression in its parts, whatever its key; undefined when it has none of the forms. */
export function splitExpression(
  expression: string,
): Pick<Constraint, 'key' | 'operator' | 'values'> | undefined {
  const text = expression.trim();
  const match = COMPARISON.exec(text) ?? LIST.exec(text) ?? PRESENCE.exec(text);
  if (match?.groups === undefined) return undefined;
  const { key = '', value } = match.groups;
  const operator = (match.groups['operator'] ?? '').replace(/\s+/, ' ') as Operator;
  if (value === undefined) return { key, operator, values: [] };
  const isList = operator === 'in' || operator === 'not in';
  return { key, operator, values: isList ? value.split(',').map((v) => v.trim()) : [value] };
}

function checkNumber(expression: string, value: string): void {
  if (isNumber(value)) return;
  const hint = value.startsWith('=') ? ' (there is no <= or >=)' : '';
  throw invalid(expression, `compares with "${value}", which is no number${hint}`);
}

function invalid(expression: string, what: string): HatobaError {
  return new HatobaError('invalid-argument', `constraint "${expression}" ${what}`);
}

function isNumber(text: string): boolean {
  return text.trim() !== '' && Number.isFinite(Number(text));
}

/**
 * Values are compared whole, without regard to case; a missing label is the empty string, and no
 * number.
 */
export function matchesConstraint(constraint: Constraint, node: Node): boolean {
  const { key, operator, values } = constraint;
  switch (operator) {
    case '==':
    case 'in':
      return values.some((value) => isEqual(node, key, value));
    case '!=':
    case 'not in':
      return !values.some((value) => isEqual(node, key, value));
    case 'exists':
      return hasKey(node, key);
    case 'not exists':
      return !hasKey(node, key);
    case '<':
    case '>': {
      const actual = valueOf(node, key);
      if (!isNumber(actual)) return false;
      const difference = Number(actual) - Number(values[0]);
      return operator === '<' ? difference < 0 : difference > 0;
    }
  }
}

function isEqual(node: Node, key: string, value: string): boolean {
  const actual = valueOf(node, key);
  if (key === 'node.ip') return isInRange(actual, value);
  const wanted = key === 'node.platform.arch' ? normalArchitecture(value) : value;
  return actual.toLowerCase() === wanted.toLowerCase();
}

/** Whether the node is of one of the platforms; none named = any. */
export function matchesPlatform(node: Node, platforms: readonly Platform[]): boolean {
  const own = node.description.platform;
  return (
    platforms.length === 0 ||
    platforms.some(
      (p) =>
        (p.os === '' || p.os.toLowerCase() === own.os.toLowerCase()) &&
        (p.architecture === '' ||
          normalArchitecture(p.architecture) === normalArchitecture(own.architecture)),
    )
  );
}

/** Placements are frozen, so what was read of one is right for as long as it is there. */
const known = new WeakMap<Placement, readonly Constraint[]>();

/**
 * The constraints of a placement; read once, as many nodes are asked about the same one.
 * @throws {HatobaError} as of parseConstraint
 */
export function constraintsOf(placement: Placement): readonly Constraint[] {
  const there = known.get(placement);
  if (there !== undefined) return there;
  const constraints = placement.constraints.map(parseConstraint);
  known.set(placement, constraints);
  return constraints;
}

/** Those of a placement that a node does not satisfy. */
export function brokenConstraints(node: Node, placement: Placement): Constraint[] {
  return constraintsOf(placement).filter((c) => !matchesConstraint(c, node));
}

/** Whether a task already on the node may stay there under this placement. */
export function fitsPlacement(node: Node, placement: Placement): boolean {
  return (
    matchesPlatform(node, placement.platforms) &&
    constraintsOf(placement).every((c) => matchesConstraint(c, node))
  );
}
