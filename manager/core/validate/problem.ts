import { HatobaError, type ErrorKind } from '../../../common/errors.js';

/** One mistake in what a user asked for. */
export interface Problem {
  /** Where, for example "taskTemplate.placement.constraints[0]"; "" for the whole. */
  readonly path: string;
  /** What is wrong and what would be right. */
  readonly message: string;
  readonly kind: ErrorKind;
}

/** Gathers problems; sub-lists know their place. */
export class Problems {
  readonly list: Problem[];
  readonly #path: string;

  constructor(path = '', list: Problem[] = []) {
    this.#path = path;
    this.list = list;
  }

  /** The same list, one level deeper: at("mounts[0]"). */
  at(path: string): Problems {
    return new Problems(this.#path === '' ? path : `${this.#path}.${path}`, this.list);
  }

  add(message: string, kind: ErrorKind = 'invalid-argument'): void {
    this.list.push({ path: this.#path, message, kind });
  }

  /** Adds the message when the condition does not hold. */
  require(condition: boolean, message: string): void {
    if (!condition) this.add(message);
  }

  /** Runs a parser and adds what it throws. */
  try(parse: () => unknown): void {
    try {
      parse();
    } catch (error) {
      if (!(error instanceof HatobaError)) throw error;
      this.add(error.message, error.kind);
    }
  }
}

/** All problems as one error, of the kind of the first; expects at least one. */
export function problemsError(problems: readonly Problem[]): HatobaError {
  const lines = problems.map((p) => (p.path === '' ? p.message : `${p.path}: ${p.message}`));
  return new HatobaError(problems[0]?.kind ?? 'invalid-argument', lines.join('\n'), {
    detail: { problems },
  });
}

/** Of each field that is there: it is a whole number from 0. */
export function checkNotNegative<K extends string>(
  numbers: { readonly [Key in K]?: number | undefined },
  fields: readonly K[],
  problems: Problems,
): void {
  for (const field of fields) {
    const value = numbers[field] ?? 0;
    problems.at(field).require(value >= 0, `${value} must not be negative`);
  }
}

/** The kernel ends words at a NUL. */
export function checkText(text: string, problems: Problems): void {
  problems.require(!text.includes('\0'), 'has a NUL in it');
}

/** Letters, digits, and inside also hyphens and underscores; at most 63 characters. */
const DNS_LABEL = /^[a-zA-Z0-9](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?$/;

/** Names that become DNS names: of services, stacks, aliases. */
export function checkName(name: string, problems: Problems): void {
  if (name === '') problems.add('a name is required');
  else if (!DNS_LABEL.test(name)) {
    problems.add(
      `"${name}" is not a valid name: letters, digits, "-" and "_", ` +
        'not at the ends, at most 63 characters',
    );
  }
}
