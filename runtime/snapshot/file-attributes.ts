import { chmodSync, lchownSync, type BigIntStats } from 'node:fs';
import { pathCalls } from '../../linux/path-calls.js';
import type { IdMap, IdRange } from '../../linux/ports.js';

const OVERLAY_XATTR = 'trusted.overlay.';
const OPAQUE_XATTR = 'trusted.overlay.opaque';
const CAPABILITY_XATTR = 'security.capability';
/** Of the user that is nobody, whose id every range of 65,536 has. */
const NOBODY = 65_534;

export type Xattrs = ReadonlyMap<string, Uint8Array>;

/** Whether a directory of a layer hides all that lower layers have in it. */
export function isOpaque(xattrs: Xattrs): boolean {
  return xattrs.get(OPAQUE_XATTR)?.[0] === 'y'.charCodeAt(0);
}

/** Whether a file of a layer stands for nothing: it hides what lower layers have there. */
export function isWhiteout(stat: BigIntStats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0n;
}

/**
 * Gives a file the owner, mode, attributes and time of another one; of directories the time must
 * be set again when they are filled.
 * @param idMap shifts the owner
 */
export function copyAttributes(
  stat: BigIntStats,
  xattrs: Xattrs,
  target: Buffer,
  idMap?: IdMap,
): void {
  // chown clears setuid bits and capabilities: it comes first
  lchownSync(target, shift(stat.uid, idMap?.uids), shift(stat.gid, idMap?.gids));
  if (!stat.isSymbolicLink()) chmodSync(target, Number(stat.mode & 0o7777n));
  for (const [name, value] of xattrs) {
    if (name.startsWith(OVERLAY_XATTR)) continue;
    if (name === CAPABILITY_XATTR) {
      pathCalls.setXattr(target, name, shiftCapability(value, idMap));
    } else {
      setIfSupported(target, name, value);
    }
  }
  pathCalls.setTime(target, stat.mtimeNs);
}

/** File capabilities decide whether a program works; others are decoration where unsupported. */
function setIfSupported(target: Buffer, name: string, value: Uint8Array): void {
  try {
    pathCalls.setXattr(target, name, value);
  } catch (error) {
    const { detail } = error as { detail?: { errno?: string } };
    if (detail?.errno !== 'EOPNOTSUPP') throw error;
  }
}

export function shift(id: bigint, range: IdRange | undefined): number {
  if (range === undefined) return Number(id);
  return range.firstId + (id < range.count ? Number(id) : Math.min(NOBODY, range.count - 1));
}

/**
 * File capabilities as the root of a user namespace may use them: version 3 names that root.
 * @see capabilities(7), "File capability extended attribute versioning"
 */
function shiftCapability(value: Uint8Array, idMap: IdMap | undefined): Uint8Array {
  const VERSION_2_BYTES = 20;
  if (idMap === undefined || value.length !== VERSION_2_BYTES) return value;
  const shifted = Buffer.alloc(VERSION_2_BYTES + 4);
  shifted.set(value);
  shifted.writeUInt8(3, 3); // the revision is the topmost byte of the first word
  shifted.writeUInt32LE(idMap.uids.firstId, VERSION_2_BYTES);
  return shifted;
}
