import type { Node } from '../../../common/model/objects.js';
import { toWord } from '../../../common/model/words.js';

/** What can be asked of a node, by constraints, spreads and affinities. */
const KEYS: ReadonlySet<string> = new Set([
  'node.id',
  'node.hostname',
  'node.role',
  'node.ip',
  'node.platform.os',
  'node.platform.arch',
]);
const LABEL_KEYS = ['node.labels.', 'engine.labels.'];

/** All keys, for messages. */
export const KNOWN_NODE_KEYS = [...KEYS, ...LABEL_KEYS.map((k) => `${k}NAME`)].join(', ');

export function isNodeKey(key: string): boolean {
  return KEYS.has(key) || LABEL_KEYS.some((k) => key.startsWith(k) && key.length > k.length);
}

/** The value of a key on a node; empty where the node has none. */
export function valueOf(node: Node, key: string): string {
  return find(node, key) ?? '';
}

/** Whether the node says anything about the key; a label may be there and be empty. */
export function hasKey(node: Node, key: string): boolean {
  const value = find(node, key);
  return value !== undefined && (value !== '' || key.includes('.labels.'));
}

function find(node: Node, key: string): string | undefined {
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
      return node.status.addr === '' ? node.description.dataPathAddress : node.status.addr;
    default:
      return labelOf(node, key);
  }
}

function labelOf(node: Node, key: string): string | undefined {
  if (key.startsWith('node.labels.')) return node.spec.labels[key.slice(12)];
  if (key.startsWith('engine.labels.')) return node.description.engine.labels[key.slice(14)];
  return undefined;
}

/** kernel names of architectures → OCI's, as users write both. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  aarch64: 'arm64',
  armv7l: 'arm',
  i386: '386',
  i686: '386',
};

export function normalArchitecture(name: string): string {
  return ARCHITECTURES[name.toLowerCase()] ?? name.toLowerCase();
}
