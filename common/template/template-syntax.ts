import { HatobaError } from '../errors.js';

/** What a template is made of. */
export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'print'; value: Expression }
  | { kind: 'if' | 'with'; value: Expression; body: Node[]; otherwise: Node[] }
  | { kind: 'range'; variables: string[]; value: Expression; body: Node[]; otherwise: Node[] };

export type Expression =
  | { kind: 'literal'; value: string | number | boolean }
  /** ".A.B", "$x.A", "(…).A": from the dot, a variable or another value. */
  | { kind: 'path'; from: 'dot' | Variable | Expression; fields: string[] }
  | { kind: 'call'; name: string; args: Expression[] };

/** Without its "$"; "" is the whole object. */
export interface Variable {
  kind: 'variable';
  name: string;
}

/** A piece of text, or the inside of "{{ … }}". */
interface Piece {
  action: boolean;
  text: string;
}

/** @throws {HatobaError} invalid-argument */
export function parseTemplate(text: string): Node[] {
  const pieces = cut(text);
  const nodes = parseBody(pieces);
  const left = pieces.shift();
  if (left !== undefined) throw wrong(`"{{${left.text}}}" has nothing that it belongs to`);
  return nodes;
}

function cut(text: string): Piece[] {
  const pieces: Piece[] = [];
  let rest = text;
  for (;;) {
    const open = rest.indexOf('{{');
    if (open < 0) break;
    const close = rest.indexOf('}}', open);
    if (close < 0) throw wrong(`"${rest.slice(open)}" is not closed by "}}"`);
    pieces.push({ action: false, text: rest.slice(0, open) });
    pieces.push({ action: true, text: rest.slice(open + 2, close) });
    rest = rest.slice(close + 2);
  }
  return withoutTrimmed([...pieces, { action: false, text: rest }]);
}

/** "{{-" and "-}}" take the blanks beside them away. */
function withoutTrimmed(pieces: readonly Piece[]): Piece[] {
  return pieces.map((piece, i) => {
    if (piece.action) return { ...piece, text: piece.text.replace(/^-\s|\s-$/g, '').trim() };
    let { text } = piece;
    if (/\s-$/.test(pieces[i - 1]?.text ?? '')) text = text.trimStart();
    if (/^-\s/.test(pieces[i + 1]?.text ?? '')) text = text.trimEnd();
    return { ...piece, text };
  });
}

/** Up to the "else" or "end" of the block around it, which it leaves. */
function parseBody(pieces: Piece[]): Node[] {
  const nodes: Node[] = [];
  for (let piece = pieces[0]; piece !== undefined; piece = pieces[0]) {
    if (piece.action && /^(else|end)\b/.test(piece.text)) break;
    pieces.shift();
    if (!piece.action) nodes.push({ kind: 'text', text: piece.text });
    else if (!piece.text.startsWith('/*')) nodes.push(parseAction(piece.text, pieces));
  }
  return nodes;
}

function parseAction(text: string, pieces: Piece[]): Node {
  const match = /^(if|with|range)\b([\s\S]*)$/.exec(text);
  if (match === null) return { kind: 'print', value: parsePipeline(text) };
  const [, kind, rest = ''] = match;
  const declared = /^\s*\$(\w+)(?:\s*,\s*\$(\w+))?\s*:=([\s\S]*)$/.exec(rest);
  const variables = [declared?.[1], declared?.[2]].filter((v) => v !== undefined);
  const value = parsePipeline(declared?.[3] ?? rest);
  const blocks = parseBlocks(text, pieces);
  if (kind === 'range') return { kind, variables, value, ...blocks };
  return { kind: kind === 'with' ? 'with' : 'if', value, ...blocks };
}

function parseBlocks(opened: string, pieces: Piece[]): { body: Node[]; otherwise: Node[] } {
  const body = parseBody(pieces);
  const next = pieces.shift();
  if (next === undefined) throw wrong(`"{{${opened}}}" has no "{{end}}"`);
  if (next.text === 'end') return { body, otherwise: [] };
  const elseIf = /^else\s+(if\b[\s\S]*)$/.exec(next.text);
  if (elseIf !== null) return { body, otherwise: [parseAction(elseIf[1] ?? '', pieces)] };
  const otherwise = parseBody(pieces);
  if (pieces.shift()?.text !== 'end') throw wrong(`"{{${opened}}}" has no "{{end}}"`);
  return { body, otherwise };
}

const TOKEN = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|[|()]|\$?[\w.]+|\$|\S)/y;

function parsePipeline(text: string): Expression {
  const tokens = Array.from(text.matchAll(new RegExp(TOKEN, 'g')), ([, token = '']) => token);
  const value = pipeline(tokens, text);
  if (tokens.length > 0) throw wrong(`"${tokens.join(' ')}" is too much in "{{${text}}}"`);
  return value;
}

/** Each stage gets the value of the one before it as its last argument. */
function pipeline(tokens: string[], text: string): Expression {
  let value = stage(tokens, text, []);
  while (tokens[0] === '|') {
    tokens.shift();
    value = stage(tokens, text, [value]);
  }
  return value;
}

function stage(tokens: string[], text: string, last: Expression[]): Expression {
  const [first = ''] = tokens;
  if (!/^[a-z]\w*$/i.test(first) || first === 'true' || first === 'false') {
    if (last.length > 0) throw wrong(`"${first}" in "{{${text}}}" is not a function`);
    return operand(tokens, text);
  }
  tokens.shift();
  const args: Expression[] = [];
  while (tokens.length > 0 && tokens[0] !== '|' && tokens[0] !== ')') {
    args.push(operand(tokens, text));
  }
  return { kind: 'call', name: first, args: [...args, ...last] };
}

function operand(tokens: string[], text: string): Expression {
  const token = tokens.shift() ?? '';
  if (token === '(') {
    const inner = pipeline(tokens, text);
    if (tokens.shift() !== ')') throw wrong(`"(" is not closed in "{{${text}}}"`);
    const isPath = /^\.\w/.test(tokens[0] ?? '');
    return isPath ? { kind: 'path', from: inner, fields: fieldsOf(tokens.shift()) } : inner;
  }
  const literal = literalOf(token);
  if (literal !== undefined) return { kind: 'literal', value: literal };
  const path = /^(?:\$(\w*))?(\.[\w.]*)?$/.exec(token);
  if (token === '' || path === null) throw wrong(`"${token}" is not understood in "{{${text}}}"`);
  const from = token.startsWith('$') ? { kind: 'variable' as const, name: path[1] ?? '' } : 'dot';
  return { kind: 'path', from, fields: fieldsOf(path[2]) };
}

function literalOf(token: string): string | number | boolean | undefined {
  if (token.startsWith('`') && token.length > 1) return token.slice(1, -1);
  if (token.startsWith('"') && token.length > 1) return unquote(token);
  if (/^\d+$/.test(token)) return Number(token);
  return token === 'true' || token === 'false' ? token === 'true' : undefined;
}

function fieldsOf(text = ''): string[] {
  return text.split('.').filter((field) => field !== '');
}

function unquote(token: string): string {
  return token.slice(1, -1).replace(/\\(.)/g, (_, c: string) => ({ n: '\n', t: '\t' })[c] ?? c);
}

function wrong(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
