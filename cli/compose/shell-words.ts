const PIECE = /\\([^])|"((?:[^"\\]|\\[^])*)"|'([^']*)'|([^\s"'\\]+)/g;
const WORD = /(?:\\[^]|"(?:[^"\\]|\\[^])*"|'[^']*'|[^\s"'\\])+/g;

/**
 * Splits a command line into words as a shell would, without expanding anything: quotes and
 * backslashes group, blanks separate.
 * @returns undefined when a quote is not closed
 */
export function splitWords(line: string): string[] | undefined {
  if (line.replace(WORD, '').trim() !== '') return undefined;
  return [...line.matchAll(WORD)].map(([word]) => word.replace(PIECE, unquote));
}

function unquote(
  _piece: string,
  escaped: string | undefined,
  double: string | undefined,
  single: string | undefined,
  plain: string | undefined,
): string {
  return escaped ?? double?.replace(/\\([\\"$`])/g, '$1') ?? single ?? plain ?? '';
}
