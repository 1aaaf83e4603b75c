import { HatobaError } from '../../common/errors.js';

/** What is thrown for words that cannot be read. */
export function wrong(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
