import { HatobaError } from '../../../common/errors.js';
import type { Node } from '../../../common/model/objects.js';
import { toWord } from '../../../common/model/words.js';
import type { Placement, Platform } from '../../../proto/gen/hatoba/v1/types.js';

/** One parsed placement constraint, for example node.labels.zone==a. */
export interface Constraint {
  /** As the user wrote it. */
  readonly expression: string;
  readonly key: string;
  readonly equal: boolean;
  readonly value: string;
}

const KEYS = ['node.id', 'node.hostname', 'node.role', 'node.ip', 'node.platform.os'];
const KNOWN_KEYS: ReadonlySet<string> = new Set([...KEYS, 'node.platform.arch']);
const LABEL_KEYS = ['node.labels.', 'engine.labels.'];
const KNOWN = [...KNOWN_KEYS, ...LABEL_KEYS.map((k) => `${k}NAME`)].join(', ');

/** kernel names of architectures → OCI's, as users write both. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  aarch64: 'arm64',
  armv7l: 'arm',
  i386: '386',
  i686: '386',
};

/**
 * Reads `KEY==VALUE` or `KEY!=VALUE`; spaces around the parts are allowed.
 * @throws {HatobaError} invalid-argument that names the expression
 */
export function parseConstraint(expression: string): Constraint {
  const match = /^\s*([^\s=!]+)\s*(==|!=)\s*(.+?)\s*$/.exec(expression);
  const [, key = '', operator = '', value = ''] = match ?? [];
  if (match === null) {
    throw invalid(expression, 'is not of the form KEY==VALUE or KEY!=VALUE');
  }
  const isLabel = LABEL_KEYS.some((k) => key.startsWith(k) && key.length > k.length);
  if (!KNOWN_KEYS.has(key) && !isLabel) {
    throw invalid(expression, `has the unknown key "${key}" (known are ${KNOWN})`);
  }
  if (key === 'node.ip' && parseIpv4Range(value) === undefined) {
    throw invalid(expression, `compares node.ip with "${value}", which is no IPv4 address or CIDR`);
  }
  return { expression: expression.trim(), key, equal: operator === '==', value };
}

function invalid(expression: string, what: string): HatobaError {
  return new HatobaError('invalid-argument', `constraint "${expression}" ${what}`);
}

/** Values are compared whole, without regard to case; a missing label is the empty string. */
export function matchesConstraint(constraint: Constraint, node: Node): boolean {
  const { key, value } = constraint;
  if (key === 'node.ip') return inRange(addressOf(node), value) === constraint.equal;
  const actual = valueOf(node, key).toLowerCase();
  const wanted = key === 'node.platform.arch' ? normalArchitecture(value) : value;
  return (actual === wanted.toLowerCase()) === constraint.equal;
}

/** The value of a constraint key, or of a spread descriptor, on a node. */
export function valueOf(node: Node, key: string): string {
  switch (key) {
    case 'node.id':
      return node.id;
    case 'node.hostname':
      return node.description.hostname;
    case 'node.role':
      return toWord(node.spec.role);
    case 'node.platform.os':
      return node.description.platform.os;
    case 'node.platform.arch':
      return normalArchitecture(node.description.platform.architecture);
    case 'node.ip':
      return addressOf(node);
    default:
      return labelOf(node, key);
  }
}

function labelOf(node: Node, key: string): string {
  if (key.startsWith('node.labels.')) return node.spec.labels[key.slice(12)] ?? '';
  if (key.startsWith('engine.labels.')) return node.description.engine.labels[key.slice(14)] ?? '';
  return '';
}

function addressOf(node: Node): string {
  return node.status.addr === '' ? node.description.dataPathAddress : node.status.addr;
}

function normalArchitecture(name: string): string {
  return ARCHITECTURES[name.toLowerCase()] ?? name.toLowerCase();
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

/** Whether a task already on the node may stay there under this placement. */
export function fitsPlacement(node: Node, placement: Placement): boolean {
  return (
    matchesPlatform(node, placement.platforms) &&
    placement.constraints.every((c) => matchesConstraint(parseConstraint(c), node))
  );
}

interface Range {
  base: number;
  mask: number;
}

function parseIpv4Range(text: string): Range | undefined {
  const [address = '', prefix = '32', ...rest] = text.split('/');
  const base = parseIpv4(address);
  const bits = Number(prefix);
  if (base === undefined || rest.length > 0 || !/^\d{1,2}$/.test(prefix) || bits > 32) {
    return undefined;
  }
  return { base, mask: bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0 };
}

function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) < 256)) {
    return undefined;
  }
  return parts.reduce((sum, p) => sum * 256 + Number(p), 0);
}

function inRange(address: string, range: string): boolean {
  const host = parseIpv4(address.split(':')[0] ?? '');
  const wanted = parseIpv4Range(range);
  if (host === undefined || wanted === undefined) return false;
  return (host & wanted.mask) >>> 0 === (wanted.base & wanted.mask) >>> 0;
}
