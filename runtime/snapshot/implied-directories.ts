import * as fs from 'node:fs';
import { pathCalls } from '../../linux/path-calls.js';
import type { LayerSource } from './copy-layers.js';
import { copyAttributes, isOpaque, type Xattrs } from './file-attributes.js';

/** A directory of a layer that says what owner and mode it has. */
interface Said {
  readonly stat: fs.BigIntStats;
  readonly xattrs: Xattrs;
}

/**
 * Makes, in an empty folder, the directories that would show owner and mode of a layer that says
 * nothing of them, with those of the topmost layer below that does. The folder belongs on top of
 * the layers. All calls block.
 * @param layers bottom first
 * @returns how many there are; often none
 */
export function makeImpliedDirectories(layers: readonly LayerSource[], target: string): number {
  const topFirst = layers.toReversed().map((layer) => ({
    root: layer.diffDir,
    implied: new Set(layer.implied),
  }));
  const paths = [...new Set(layers.flatMap((layer) => layer.implied))].sort();
  const made = new Map<string, fs.BigIntStats>();
  for (const path of paths) {
    const below = findSaid(topFirst, path);
    if (below?.isTopmost !== false) continue;
    // its parents show here too, so they must be as they are below
    for (const parent of withParents(path)) {
      if (made.has(parent)) continue;
      const said = findSaid(topFirst, parent);
      if (said === undefined) continue;
      const bytes = Buffer.from(`${latin1(target)}/${parent}`, 'latin1');
      fs.mkdirSync(bytes);
      copyAttributes(said.stat, said.xattrs, bytes);
      made.set(parent, said.stat);
    }
  }
  for (const [path, stat] of [...made].reverse()) {
    pathCalls.setTime(Buffer.from(`${latin1(target)}/${path}`, 'latin1'), stat.mtimeNs);
  }
  return made.size;
}

/**
 * The topmost layer that says something of a directory which is seen through all layers above it.
 * Where none does, the lowest that has it.
 */
function findSaid(
  topFirst: readonly { root: string; implied: ReadonlySet<string> }[],
  path: string,
): (Said & { isTopmost: boolean }) | undefined {
  let lowest: (Said & { isTopmost: boolean }) | undefined;
  for (const { root, implied } of topFirst) {
    const { found, hidesLower } = look(root, path);
    if (found !== undefined) {
      lowest = { ...found, isTopmost: lowest === undefined };
      if (!implied.has(path)) return lowest;
    }
    if (hidesLower) break;
  }
  // said by none: as the topmost shows it
  return lowest === undefined ? undefined : { ...lowest, isTopmost: true };
}

function look(root: string, path: string): { found: Said | undefined; hidesLower: boolean } {
  let hidesLower = false;
  let found: Said | undefined;
  for (const part of withParents(path)) {
    const bytes = Buffer.from(`${latin1(root)}/${part}`, 'latin1');
    const stat = fs.lstatSync(bytes, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return { found: undefined, hidesLower };
    if (!stat.isDirectory()) return { found: undefined, hidesLower: true };
    const xattrs = pathCalls.xattrs(bytes);
    hidesLower ||= isOpaque(xattrs);
    found = { stat, xattrs };
  }
  return { found, hidesLower };
}

/** "a/b/c" → "a", "a/b", "a/b/c" */
function withParents(path: string): string[] {
  const names = path.split('/');
  return names.map((_, i) => names.slice(0, i + 1).join('/'));
}

function latin1(path: string): string {
  return Buffer.from(path).toString('latin1');
}
