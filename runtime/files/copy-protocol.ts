import type { ErrorKind } from '../../common/errors.js';
import type { IdMap } from '../../linux/ports.js';
import type { PathChange, PathStat } from '../engine.js';
import type { TreeMount } from './rooted-tree.js';

/** A container's files as it sees them, for a thread to open. */
export interface TreeView {
  /** A directory, or a descriptor of one that its opener keeps open: "/proc/self/fd/12". */
  readonly root: string;
  readonly mounts: readonly TreeMount[];
  /** Nothing but what is mounted may be written. */
  readonly readOnly: boolean;
  /** Of a container with users of its own: its 0 is `firstId` on disk. */
  readonly idMap: IdMap | undefined;
}

/** What a copying thread is for; one job each. */
export type CopyJob =
  | {
      readonly type: 'pack';
      readonly view: TreeView;
      readonly path: string;
      readonly followLink: boolean;
    }
  /** The whole root; its entries have no "./" before them. */
  | { readonly type: 'pack-root'; readonly view: TreeView }
  | {
      readonly type: 'unpack';
      readonly view: TreeView;
      readonly path: string;
      readonly copyOwners: boolean;
    }
  | {
      readonly type: 'diff';
      /** Layers, topmost first; the first one is the container's own. */
      readonly layers: readonly string[];
      /** Paths that the engine and not the container has made. */
      readonly ownPaths: readonly string[];
      readonly idMap: IdMap | undefined;
    }
  | {
      readonly type: 'diff-copy';
      readonly root: string;
      readonly layers: readonly string[];
      readonly ownPaths: readonly string[];
      readonly idMap: IdMap | undefined;
    }
  | { readonly type: 'measure'; readonly paths: readonly string[] };

/** To a copying thread. */
export type CopyRequest =
  /** Another chunk may be sent. */
  | { readonly type: 'more' }
  | { readonly type: 'chunk'; readonly bytes: Uint8Array }
  | { readonly type: 'end' }
  /** Ends the job; its failure is still told. */
  | { readonly type: 'cancel' };

/** From a copying thread. */
export type CopyMessage =
  | { readonly type: 'stat'; readonly stat: PathStat }
  | { readonly type: 'chunk'; readonly bytes: Uint8Array }
  /** Ready for the first chunk, or for the next. */
  | { readonly type: 'taken' }
  | { readonly type: 'changes'; readonly changes: PathChange[] }
  | { readonly type: 'bytes'; readonly bytes: number }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly kind: ErrorKind; readonly message: string };

/** Chunks that a packing thread may be ahead of whoever reads them. */
export const CHUNKS_AHEAD = 4;
