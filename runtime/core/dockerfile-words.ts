import { HatobaError } from '../../common/errors.js';

/** Value of a variable, or undefined where it is not set. */
export type Variables = (name: string) => string | undefined;

/**
 * Splits the arguments of a Dockerfile's instruction at blanks that are not quoted, takes quotes and
 * backslashes away, and fills in `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}` outside of
 * single quotes.
 * @throws {HatobaError} invalid-argument for a quote or brace that is not closed
 */
export function splitWords(text: string, variables: Variables): string[] {
  const scanner = new WordScanner(text, variables);
  const words: string[] = [];
  for (let word = scanner.next(); word !== undefined; word = scanner.next()) words.push(word);
  return words;
}

/** The same for a text that is one word, blanks and all. */
export function expandText(text: string, variables: Variables): string {
  return new WordScanner(text, variables).rest();
}

const BLANK = /\s/;
const NAME_CHAR = /\w/;

class WordScanner {
  readonly #text: string;
  readonly #variables: Variables;
  #at = 0;

  constructor(text: string, variables: Variables) {
    this.#text = text;
    this.#variables = variables;
  }

  next(): string | undefined {
    while (BLANK.test(this.#peek())) this.#at++;
    return this.#at >= this.#text.length ? undefined : this.#word((char) => BLANK.test(char));
  }

  rest(): string {
    return this.#word(() => false);
  }

  #word(isEnd: (char: string) => boolean): string {
    let word = '';
    for (let char = this.#peek(); char !== '' && !isEnd(char); char = this.#peek()) {
      if (char === "'") word += this.#singleQuoted();
      else if (char === '"') word += this.#doubleQuoted();
      else if (char === '\\') word += this.#escaped();
      else if (char === '$') word += this.#variable();
      else word += this.#take();
    }
    return word;
  }

  #singleQuoted(): string {
    this.#at++;
    const end = this.#text.indexOf("'", this.#at);
    if (end === -1) throw this.#unclosed("'");
    const inside = this.#text.slice(this.#at, end);
    this.#at = end + 1;
    return inside;
  }

  #doubleQuoted(): string {
    this.#at++;
    let inside = '';
    for (let char = this.#peek(); char !== '"'; char = this.#peek()) {
      if (char === '') throw this.#unclosed('"');
      if (char === '$') inside += this.#variable();
      else if (char === '\\' && '"$\\'.includes(this.#text.charAt(this.#at + 1))) {
        inside += this.#escaped();
      } else inside += this.#take();
    }
    this.#at++;
    return inside;
  }

  /** A backslash at the very end stands for itself. */
  #escaped(): string {
    this.#at++;
    return this.#at < this.#text.length ? this.#take() : '\\';
  }

  #variable(): string {
    this.#at++;
    if (this.#peek() === '{') return this.#bracedVariable();
    const name = this.#name();
    return name === '' ? '$' : (this.#variables(name) ?? '');
  }

  #bracedVariable(): string {
    this.#at++;
    const name = this.#name();
    const value = this.#variables(name) ?? '';
    const operator = this.#text.slice(this.#at, this.#at + 2);
    if (operator !== ':-' && operator !== ':+') {
      if (name === '' || this.#peek() !== '}') throw this.#unclosed('${');
      this.#at++;
      return value;
    }
    this.#at += 2;
    const word = this.#word((char) => char === '}');
    if (this.#peek() !== '}') throw this.#unclosed('${');
    this.#at++;
    const isSet = value !== '';
    if (operator === ':-') return isSet ? value : word;
    return isSet ? word : '';
  }

  #name(): string {
    const start = this.#at;
    while (NAME_CHAR.test(this.#peek())) this.#at++;
    return this.#text.slice(start, this.#at);
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #take(): string {
    return this.#text.charAt(this.#at++);
  }

  #unclosed(what: string): HatobaError {
    return new HatobaError('invalid-argument', `"${this.#text}": ${what} is not closed`);
  }
}
