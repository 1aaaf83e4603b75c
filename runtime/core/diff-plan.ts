import type { PathChange } from '../../proto/gen/hatoba/v1/engine.js';

/** One object of a tree to be compared; its children are looked at only where it is needed. */
export interface DiffNode {
  readonly isDirectory: boolean;
  /** Certainly the same as before, with all below it. */
  readonly isUntouched: boolean;
  /**
   * What tells whether it has changed: of a directory owner, mode and attributes; of a file also
   * its time and size, or anything unique where a file that is there at all has changed.
   */
  readonly fingerprint: string;
  /** Names in a directory: byte strings. */
  names(): readonly string[];
  child(name: string): DiffNode | undefined;
}

/**
 * What has become of a tree, as `docker diff`: added, changed and deleted paths, sorted, parents
 * before what is in them. Of something deleted only its top is told; of something added all. A
 * directory counts as changed when something in it has, too.
 * @param isOwn paths that are not told of, nor that their directory changed for them
 * @returns paths as byte strings, absolute
 */
export function planDiff(
  before: DiffNode,
  after: DiffNode,
  isOwn: (path: string) => boolean = () => false,
): PathChange[] {
  return diffDirectory('', before, after, isOwn);
}

function diffDirectory(
  path: string,
  before: DiffNode,
  after: DiffNode,
  isOwn: (path: string) => boolean,
): PathChange[] {
  const names = [...new Set([...before.names(), ...after.names()])].sort();
  return names.flatMap((name) => {
    const childPath = `${path}/${name}`;
    return diffNode(childPath, before.child(name), after.child(name), isOwn);
  });
}

function diffNode(
  path: string,
  before: DiffNode | undefined,
  after: DiffNode | undefined,
  isOwn: (path: string) => boolean,
): PathChange[] {
  if (after?.isUntouched === true) return [];
  if (after === undefined) return before === undefined ? [] : change('deleted', path, isOwn);
  if (before === undefined)
    return [...change('added', path, isOwn), ...allBelow(path, after, isOwn)];
  if (!before.isDirectory || !after.isDirectory) {
    const same =
      before.isDirectory === after.isDirectory && before.fingerprint === after.fingerprint;
    return same ? [] : [...change('changed', path, isOwn), ...allBelow(path, after, isOwn)];
  }
  const inside = diffDirectory(path, before, after, isOwn);
  const isChanged = inside.length > 0 || before.fingerprint !== after.fingerprint;
  return [...(isChanged ? change('changed', path, isOwn) : []), ...inside];
}

function allBelow(path: string, node: DiffNode, isOwn: (path: string) => boolean): PathChange[] {
  if (!node.isDirectory) return [];
  return [...node.names()].sort().flatMap((name) => {
    const child = node.child(name);
    const childPath = `${path}/${name}`;
    if (child === undefined) return [];
    return [...change('added', childPath, isOwn), ...allBelow(childPath, child, isOwn)];
  });
}

function change(
  kind: 'added' | 'changed' | 'deleted',
  path: string,
  isOwn: (path: string) => boolean,
): PathChange[] {
  return isOwn(path) ? [] : [{ kind, path }];
}
