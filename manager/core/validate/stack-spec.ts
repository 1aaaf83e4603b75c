import type { StackSpec } from '../../../common/model/objects.js';
import { checkName, Problems, type Problem } from './problem.js';

/** Mistakes of the stack as a whole; its services and networks are checked by their own rules. */
export function validateStackSpec(spec: StackSpec): Problem[] {
  const problems = new Problems();
  checkName(spec.name, problems.at('name'));
  checkParts(spec, 'services', problems);
  checkParts(spec, 'networks', problems);
  return problems.list;
}

/** Services carry the stack's name before their own, so that two stacks may both have a web. */
function checkParts(spec: StackSpec, kind: 'services' | 'networks', problems: Problems): void {
  const seen = new Set<string>();
  spec[kind].forEach(({ name }, i) => {
    const at = problems.at(`${kind}[${i}]`);
    at.require(!seen.has(name), `${name} is declared twice`);
    seen.add(name);
    // A network may have a name of its own (`name:` in the file).
    at.require(
      kind === 'networks' || name.startsWith(`${spec.name}_`),
      `the name ${name} does not begin with ${spec.name}_`,
    );
  });
}
