import { HatobaError } from '../../common/errors.js';

/** The place of a method that is being written. */
export function notYet(method: string): never {
  throw new HatobaError('internal', `${method} is not there yet`);
}
