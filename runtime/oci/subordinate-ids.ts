import { readFileSync } from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import type { IdMap, IdRange } from '../../linux/ports.js';
import { DEFAULT_ID_RANGE, SUBORDINATE_USERS, parseSubordinateIds } from '../core/id-map.js';

/**
 * The ids that containers with users of their own get on this machine: those of the user hatoba, or
 * dockremap, in /etc/subuid and /etc/subgid.
 * @param fallback for what the files do not say
 */
export function readOfferedIds(fallback: IdRange = DEFAULT_ID_RANGE, folder = '/etc'): IdMap {
  const read = (file: string): IdRange =>
    parseSubordinateIds(readText(`${folder}/${file}`), SUBORDINATE_USERS) ?? fallback;
  return { uids: read('subuid'), gids: read('subgid') };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
