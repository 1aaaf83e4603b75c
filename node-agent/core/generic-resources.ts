import { HatobaError } from '../../common/errors.js';
import type { GenericResource } from '../../proto/gen/hatoba/v1/types.js';

const WORDS = /^([a-zA-Z0-9][a-zA-Z0-9_.-]{0,62})=([^\s,=]{1,253})$/;

/**
 * What a node has beside CPUs and memory, as Docker's `node-generic-resources` says it:
 * "ssd=4" is four that are alike, "gpu=UUID1" and "gpu=UUID2" are two with names.
 * @throws {HatobaError} invalid-argument with every problem on a line of its own
 */
export function parseGenericResources(words: readonly string[]): GenericResource[] {
  const kinds = new Map<string, GenericResource>();
  const problems: string[] = [];
  for (const text of words) {
    const [, kind, value] = WORDS.exec(text) ?? [];
    if (kind === undefined || value === undefined) {
      problems.push(`${JSON.stringify(text)} is not KIND=COUNT or KIND=NAME, such as gpu=UUID1`);
      continue;
    }
    const entry = kinds.get(kind) ?? { kind, count: 0, names: [] };
    kinds.set(kind, entry);
    const problem = add(entry, value);
    if (problem !== undefined) problems.push(`${JSON.stringify(text)}: ${problem}`);
  }
  if (problems.length === 0) return [...kinds.values()];
  const lines = problems.map((problem) => `nodeGenericResources: ${problem}`);
  throw new HatobaError('invalid-argument', lines.join('\n'));
}

/** @returns what is wrong */
function add(entry: GenericResource, value: string): string | undefined {
  if (/^\d+$/.test(value)) {
    if (entry.names.length > 0) return `other ${entry.kind}s have names, so this needs one, too`;
    if (entry.count > 0) return `${entry.kind} is counted already`;
    entry.count = Number(value);
    return Number.isSafeInteger(entry.count) && entry.count > 0 ? undefined : 'is no count above 0';
  }
  if (entry.count > 0) return `${entry.kind} is counted already, so it has no names`;
  if (entry.names.includes(value)) return `there is a ${entry.kind} of this name already`;
  entry.names.push(value);
  return undefined;
}

/**
 * How a container learns what it was given, in the words of Swarm: "DOCKER_RESOURCE_GPU=UUID1,UUID2",
 * "DOCKER_RESOURCE_SSD=2".
 */
export function genericResourceEnv(given: readonly GenericResource[]): string[] {
  return given
    .filter(({ count, names }) => count > 0 || names.length > 0)
    .map(({ kind, count, names }) => {
      const values = count > 0 ? [...names, String(count)] : names;
      return `DOCKER_RESOURCE_${kind.toUpperCase()}=${values.join(',')}`;
    })
    .sort();
}
