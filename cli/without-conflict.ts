import { isKind } from '../common/errors.js';

/** How often a change is made that others come between. */
const MAX_ATTEMPTS = 5;

/**
 * Makes a change to what has just been read, which the managers refuse when it has been written
 * meanwhile: by other users, or by themselves while an update is under way. Then it is read again.
 * @param change reads, and writes against the version it has read
 * @throws what `change` throws: `conflict` when others kept coming in between
 */
export async function withoutConflict<T>(change: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await change();
    } catch (error) {
      if (!isKind(error, 'conflict') || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}
