import { UsageError } from '../failure.js';

/** One side of a copy: a path of a container, or of this machine ("-": a tar on stdin or stdout). */
export interface CopySide {
  /** Empty for this machine. */
  readonly container: string;
  readonly path: string;
}

/** What goes where, as `docker cp` reads it. */
export type CopyWords =
  | {
      readonly direction: 'from';
      readonly container: string;
      readonly source: string;
      readonly target: string;
    }
  | {
      readonly direction: 'to';
      readonly container: string;
      readonly source: string;
      readonly target: string;
    };

/** @throws {UsageError} unless exactly one side is a container's */
export function parseCopyWords(source: string, target: string): CopyWords {
  if (source === '') throw new UsageError('the source of a copy cannot be empty');
  if (target === '') throw new UsageError('the target of a copy cannot be empty');
  const from = parseCopySide(source);
  const to = parseCopySide(target);
  if (from.container !== '' && to.container !== '') {
    throw new UsageError('copying between containers is not possible; copy to this machine first');
  }
  if (from.container !== '') {
    return { direction: 'from', container: from.container, source: from.path, target };
  }
  if (to.container !== '') {
    return { direction: 'to', container: to.container, source, target: to.path };
  }
  throw new UsageError('one side of a copy must be a container: CONTAINER:PATH');
}

/**
 * "CONTAINER:PATH", or a path of this machine. One with a ":" in it is written as "./a:b" or from
 * the root.
 */
export function parseCopySide(word: string): CopySide {
  const colon = word.indexOf(':');
  const isLocal = word.startsWith('/') || word.startsWith('.') || colon <= 0;
  if (isLocal) return { container: '', path: word };
  return { container: word.slice(0, colon), path: word.slice(colon + 1) };
}

/** What is known of one side of a copy. */
export interface CopyPlace {
  /** As it was asked for; a slash or "/." at its end means something. */
  readonly path: string;
  readonly exists: boolean;
  readonly isDirectory: boolean;
}

/** How a tar whose first entry is named `topName` is unpacked. */
export interface UnpackPlan {
  /** The directory it is unpacked in, which must be there. */
  readonly directory: string;
  /** What its first entry is called there; undefined keeps its name. */
  readonly rename: string | undefined;
}

/**
 * Where a source goes, by Docker's rules: into a directory that is there; under the target's own
 * name where nothing is there; over a file only as a file. "SOURCE/." means what is in the source.
 * @throws {UsageError}
 */
export function planUnpack(source: CopyPlace, target: CopyPlace): UnpackPlan {
  if (target.exists && target.isDirectory) return { directory: target.path, rename: undefined };
  const { directory, base } = splitPath(target.path);
  if (target.exists && source.isDirectory) {
    throw new UsageError(`${target.path} is a file; a directory cannot be copied over it`);
  }
  if (!target.exists && !source.isDirectory && assertsDirectory(target.path)) {
    throw new UsageError(`${target.path} is not there; make the directory first`);
  }
  return { directory, rename: base };
}

/** The directory of a path and its last part; "." and slashes at the end do not count. */
export function splitPath(path: string): { directory: string; base: string } {
  const clean = path.replace(/(\/+\.?)+$/, '');
  const slash = clean.lastIndexOf('/');
  const base = clean.slice(slash + 1);
  if (base === '') return { directory: '/', base: '.' };
  if (slash < 0) return { directory: '.', base };
  return { directory: slash === 0 ? '/' : clean.slice(0, slash), base };
}

/** "DIR/." and "." mean what is in the directory. */
function specifiesContents(path: string): boolean {
  return /(^|\/)\.\/?$/.test(path);
}

function assertsDirectory(path: string): boolean {
  return path.endsWith('/') || specifiesContents(path);
}
