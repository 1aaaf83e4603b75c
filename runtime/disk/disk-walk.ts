import * as fs from 'node:fs';
import { joinBytes, namesIn, TreeMeter } from '../files/tree-size.js';

export interface DiskQuestion {
  /** Absolute. */
  readonly root: string;
  /** Folders below it whose members are told apart: "layers", "blobs/sha256". */
  readonly groups: readonly string[];
  /** Mount points below the root: what is mounted lies elsewhere. */
  readonly mountPoints: readonly string[];
  /** Members whose bytes are known and never change: "layers/<id>" → bytes. */
  readonly known: ReadonlyMap<string, number>;
}

export interface DiskAnswer {
  /** Per group: the folder's own bytes, and those of each member. */
  readonly groups: ReadonlyMap<string, GroupBytes>;
  /** What lies in no group, the root's own bytes among it. */
  readonly otherBytes: number;
}

export interface GroupBytes {
  readonly ownBytes: number;
  readonly members: ReadonlyMap<string, number>;
}

const STAT_BLOCK_BYTES = 512;

/**
 * Bytes on disk below a folder, as `du -x` counts: blocks, not lengths; what has several links once,
 * where it is met first; nothing that is mounted. What vanishes meanwhile is not counted. All calls
 * are synchronous: for worker threads.
 */
export function walkDisk(question: DiskQuestion): DiskAnswer {
  const root = Buffer.from(question.root);
  const device = fs.statSync(root).dev;
  const leftOut = new Set(question.mountPoints.map((path) => textOf(Buffer.from(path))));
  const meter = new TreeMeter(leftOut);
  const groups = new Map<string, GroupBytes>();
  for (const group of question.groups) {
    const folder = joinBytes(root, Buffer.from(group));
    const members = new Map<string, number>();
    for (const name of namesIn(folder)) {
      const known = question.known.get(`${group}/${textOf(name)}`);
      members.set(textOf(name), known ?? meter.bytesOf(joinBytes(folder, name), device));
    }
    groups.set(group, { ownBytes: ownBytes(folder), members });
  }
  for (const group of question.groups) leftOut.add(textOf(joinBytes(root, Buffer.from(group))));
  return { groups, otherBytes: meter.bytesOf(root, device) };
}

/** Of a file or folder alone. */
function ownBytes(path: Buffer): number {
  return (fs.lstatSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * STAT_BLOCK_BYTES;
}

function textOf(path: Buffer): string {
  return path.toString('latin1');
}
