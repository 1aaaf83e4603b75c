import { HatobaError } from '../../common/errors.js';
import { compileTemplate } from '../../common/template/template.js';

/**
 * The template of a `--format` flag, in which \t and \n stand for what they do with docker.
 * @returns what prints an object by the template
 * @throws {HatobaError} invalid-argument naming the flag and what is wrong, at once or when printing
 */
export function formatTemplate(text: string): (data: unknown) => string {
  const print = ofFlag(() => compileTemplate(text.replaceAll('\\t', '\t').replaceAll('\\n', '\n')));
  return (data) => ofFlag(() => print(data));
}

function ofFlag<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof HatobaError)) throw error;
    throw new HatobaError(error.kind, `--format: ${error.message}`, { cause: error });
  }
}
