/** Docker's short commands that are in a group here. */
const IN_A_GROUP: Readonly<Record<string, readonly string[]>> = {
  images: ['image', 'ls'],
  pull: ['image', 'pull'],
  push: ['image', 'push'],
  tag: ['image', 'tag'],
  rmi: ['image', 'rm'],
  save: ['image', 'save'],
  load: ['image', 'load'],
  import: ['image', 'import'],
  history: ['image', 'history'],
  events: ['system', 'events'],
  info: ['system', 'info'],
  version: ['system', 'version'],
};

/** Docker's other names for a command of a group. */
const ALIASES: Readonly<Record<string, string>> = { list: 'ls', remove: 'rm' };
const GROUPS: ReadonlySet<string> = new Set(['container', 'image', 'volume', 'network', 'node', 'service', 'stack']); // prettier-ignore

/**
 * What a user of docker types, as it is called here: "images" is "image ls", "container ls" is
 * "ps", "volume list" is "volume ls". Other words stay as they are.
 */
export function fromDocker(args: readonly string[]): readonly string[] {
  const [first = '', second = '', ...rest] = args;
  if (Object.hasOwn(IN_A_GROUP, first)) return [...(IN_A_GROUP[first] ?? []), ...args.slice(1)];
  if (!GROUPS.has(first)) return args;
  const verb = Object.hasOwn(ALIASES, second) ? (ALIASES[second] ?? second) : second;
  if (first !== 'container') return second === '' ? args : [first, verb, ...rest];
  if (['', 'help', 'prune'].includes(verb) || verb.startsWith('-')) return args;
  return [verb === 'ls' ? 'ps' : verb, ...rest];
}
