import type { IdMap, IdRange } from '../../linux/ports.js';
import type { Owner } from './rooted-tree.js';

export const ROOT: Owner = { uid: 0, gid: 0 };
/** "nobody": who owns what belongs to nobody of the container. */
const OVERFLOW_ID = 65_534;

/** An owner as it is on disk, as the container sees it. */
export function fromDisk({ uid, gid }: Owner, map: IdMap | undefined): Owner {
  if (map === undefined) return { uid, gid };
  return { uid: inside(uid, map.uids), gid: inside(gid, map.gids) };
}

/** An owner of the container, as it is on disk; one it does not have becomes nobody. */
export function toDisk({ uid, gid }: Owner, map: IdMap | undefined): Owner {
  if (map === undefined) return { uid, gid };
  return { uid: outside(uid, map.uids), gid: outside(gid, map.gids) };
}

function inside(id: number, { firstId, count }: IdRange): number {
  return id >= firstId && id < firstId + count ? id - firstId : OVERFLOW_ID;
}

function outside(id: number, { firstId, count }: IdRange): number {
  return firstId + (id < count ? id : Math.min(OVERFLOW_ID, count - 1));
}
