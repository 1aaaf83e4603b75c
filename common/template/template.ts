import { HatobaError } from '../errors.js';
import { parseTemplate, type Expression, type Node } from './template-syntax.js';

interface Scope {
  /** By their names without "$"; "" is the whole object. */
  readonly variables: ReadonlyMap<string, unknown>;
  /** Whether what `index` does not find is a mistake where it is printed; else it prints nothing. */
  readonly isStrict: boolean;
}
type PathExpression = Extract<Expression, { kind: 'path' }>;

/**
 * Go's templates as far as people use them with docker: fields, variables, pipelines, `range`, `if`,
 * `with` and some functions of Go and docker. What is printed must be there.
 * @returns what prints an object by the template
 * @throws {HatobaError} invalid-argument naming what is wrong, at once or when printing
 */
export function compileTemplate(
  text: string,
  { isStrict = false }: Partial<Pick<Scope, 'isStrict'>> = {},
): (data: unknown) => string {
  const nodes = parseTemplate(text);
  return (data) => render(nodes, data, { variables: new Map([['', data]]), isStrict });
}

function render(nodes: readonly Node[], dot: unknown, scope: Scope): string {
  return nodes.map((node) => renderNode(node, dot, scope)).join('');
}

function renderNode(node: Node, dot: unknown, scope: Scope): string {
  switch (node.kind) {
    case 'text':
      return node.text;
    case 'print':
      return goText(valueOf(node.value, dot, scope));
    case 'if':
    case 'with': {
      const value = find(node.value, dot, scope);
      if (!isTrue(value)) return render(node.otherwise, dot, scope);
      return render(node.body, node.kind === 'with' ? value : dot, scope);
    }
    case 'range': {
      const entries = entriesOf(find(node.value, dot, scope));
      if (entries.length === 0) return render(node.otherwise, dot, scope);
      const [first, second] = node.variables;
      return entries
        .map(([key, value]) => {
          const variables = new Map(scope.variables);
          if (first !== undefined) variables.set(first, second === undefined ? value : key);
          if (second !== undefined) variables.set(second, value);
          return render(node.body, value, { ...scope, variables });
        })
        .join('');
    }
  }
}

/** What is printed or handed on must be there; `if`, `with` and `range` may ask for what is not. */
function valueOf(expression: Expression, dot: unknown, scope: Scope): unknown {
  const value = find(expression, dot, scope);
  if (value !== undefined) return value;
  if (expression.kind !== 'path') {
    if (scope.isStrict) throw wrong(`there is nothing to print: ${textOf(expression)} is missing`);
    return '';
  }
  const path = expression.fields;
  for (let count = 1; count <= path.length; count++) {
    if (find({ ...expression, fields: path.slice(0, count) }, dot, scope) !== undefined) continue;
    const parent = find({ ...expression, fields: path.slice(0, count - 1) }, dot, scope);
    const known = isMap(parent) ? `; there are ${Object.keys(parent).join(', ')}` : '';
    throw wrong(`there is no field "${path.slice(0, count).join('.')}"${known}`);
  }
  throw wrong('there is nothing to print');
}

function find(expression: Expression, dot: unknown, scope: Scope): unknown {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'path': {
      return expression.fields.reduce(member, origin(expression.from, dot, scope));
    }
    case 'call': {
      const isLenient = LENIENT.has(expression.name);
      const args = expression.args.map((a) => (isLenient ? find : valueOf)(a, dot, scope));
      const act = Object.hasOwn(FUNCTIONS, expression.name) && FUNCTIONS[expression.name];
      if (act === false || act === undefined) {
        throw wrong(
          `unknown function "${expression.name}"; known are ${Object.keys(FUNCTIONS).join(', ')}`,
        );
      }
      return act(...args);
    }
  }
}

/** What a call asks for, as in "index … tier". */
function textOf(expression: Expression): string {
  if (expression.kind === 'literal') return String(expression.value);
  if (expression.kind === 'path') return `.${expression.fields.join('.')}`;
  return `(${[expression.name, ...expression.args.map(textOf)].join(' ')})`;
}

function origin(from: PathExpression['from'], dot: unknown, scope: Scope): unknown {
  if (from === 'dot') return dot;
  if (from.kind !== 'variable') return find(from, dot, scope);
  if (!scope.variables.has(from.name)) throw wrong(`there is no variable "$${from.name}"`);
  return scope.variables.get(from.name);
}

/** Those that ask whether something is there. */
const LENIENT: ReadonlySet<string> = new Set(['and', 'or', 'not', 'eq', 'ne']);

const FUNCTIONS: Readonly<Record<string, (...args: unknown[]) => unknown>> = {
  json: (value) => JSON.stringify(value),
  join: (list, separator) => entriesOf(list).map(([, v]) => goText(v)).join(goText(separator)), // prettier-ignore
  split: (text, separator) => goText(text).split(goText(separator)),
  index: (value, ...keys) => keys.reduce<unknown>((v, key) => member(v, goText(key)), value),
  len: (value) => (typeof value === 'string' ? value.length : entriesOf(value).length),
  upper: (text) => goText(text).toUpperCase(),
  lower: (text) => goText(text).toLowerCase(),
  truncate: (text, length) => goText(text).slice(0, Number(length)),
  println: (...values) => `${values.map(goText).join(' ')}\n`,
  printf: (format, ...values) => {
    const rest = values.values();
    return goText(format).replace(/%[svd]/g, () => goText(rest.next().value));
  },
  eq: (value, ...others) => others.includes(value),
  ne: (value, other) => value !== other,
  not: (value) => !isTrue(value),
  and: (...values) => values.find((v) => !isTrue(v)) ?? values.at(-1),
  or: (...values) => values.find(isTrue) ?? values.at(-1),
};

function member(value: unknown, key: string): unknown {
  if (Array.isArray(value)) return (value as unknown[])[Number(key)];
  return isMap(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** As Go ranges over them: maps by their sorted keys. */
function entriesOf(value: unknown): [key: unknown, value: unknown][] {
  if (Array.isArray(value)) return [...value.entries()];
  if (!isMap(value)) return [];
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTrue(value: unknown): boolean {
  if (Array.isArray(value) || isMap(value)) return entriesOf(value).length > 0;
  return Boolean(value);
}

/** As Go prints it: "[a b]", "map[k:v]". */
function goText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`;
  if (!isMap(value)) return value === null || value === undefined ? '<nil>' : JSON.stringify(value);
  return `map[${entriesOf(value)
    .map(([k, v]) => `${goText(k)}:${goText(v)}`)
    .join(' ')}]`;
}

function wrong(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
