import { HatobaError } from '../../common/errors.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;

/**
 * Replaces $VAR and ${VAR}, ${VAR:-default}, ${VAR-default}, ${VAR:?error}, ${VAR?error},
 * ${VAR:+other}, ${VAR+other} as the compose specification says; $$ is a dollar sign. With a colon
 * an empty variable counts as unset. Defaults may contain variables.
 * @throws {HatobaError} invalid-argument for bad syntax, and for ${VAR?error} of an unset variable
 */
export function interpolate(
  text: string,
  variables: Readonly<Record<string, string | undefined>>,
): string {
  let result = '';
  let rest = text;
  for (let cut = rest.indexOf('$'); cut >= 0; cut = rest.indexOf('$')) {
    result += rest.slice(0, cut);
    rest = rest.slice(cut + 1);
    const first = rest[0];
    if (first === '$') {
      result += '$';
      rest = rest.slice(1);
    } else if (first === '{') {
      const end = closingBrace(rest, text);
      result += substitute(rest.slice(1, end), variables, text);
      rest = rest.slice(end + 1);
    } else {
      const name = NAME.exec(rest)?.[0];
      if (name === undefined) throw badSyntax(text);
      result += variables[name] ?? '';
      rest = rest.slice(name.length);
    }
  }
  return result + rest;
}

function closingBrace(text: string, whole: string): number {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '{') depth++;
    if (text[i] === '}' && --depth === 0) return i;
  }
  throw badSyntax(whole);
}

function substitute(
  expression: string,
  variables: Readonly<Record<string, string | undefined>>,
  whole: string,
): string {
  const name = NAME.exec(expression)?.[0];
  const match = /^(:?)([-?+])([^]*)$/.exec(expression.slice(name?.length ?? 0));
  if (name === undefined || (match === null && name !== expression)) throw badSyntax(whole);
  const value = variables[name];
  if (match === null) return value ?? '';
  const [, colon = '', operator = '', operand = ''] = match;
  const isSet = value !== undefined && (colon === '' || value !== '');
  return choose({ name, operator, operand, value: isSet ? value : undefined }, variables);
}

function choose(
  e: { name: string; operator: string; operand: string; value: string | undefined },
  variables: Readonly<Record<string, string | undefined>>,
): string {
  if (e.operator === '+') return e.value === undefined ? '' : interpolate(e.operand, variables);
  if (e.value !== undefined) return e.value;
  if (e.operator === '-') return interpolate(e.operand, variables);
  const reason = e.operand === '' ? 'is not set' : interpolate(e.operand, variables);
  throw new HatobaError('invalid-argument', `variable ${e.name}: ${reason}`);
}

function badSyntax(text: string): HatobaError {
  return new HatobaError(
    'invalid-argument',
    `"${text}" has a variable that is neither \${NAME} nor \${NAME:-default}; write $$ for a dollar sign`,
  );
}
