import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { invariant } from '../../common/assert.js';
import { describeError, HatobaError, kindOf } from '../../common/errors.js';
import { fileCalls } from '../../linux/file-calls.js';
import { planDiff } from '../core/diff-plan.js';
import { byteText } from '../core/tar-header.js';
import type { PathChange, PathStat } from '../engine.js';
import {
  CHUNKS_AHEAD,
  type CopyJob,
  type CopyMessage,
  type CopyRequest,
  type TreeView,
} from './copy-protocol.js';
import { MergedNode } from './merged-node.js';
import { RootedTree, toByteString, type TreeNode } from './rooted-tree.js';
import { inChunks, packTree, type PackOptions } from './tree-packer.js';
import { openTarget, TreeUnpacker } from './tree-unpacker.js';
import { measureTrees } from './tree-size.js';
import { topNameOf } from './top-name.js';
import { fromDisk, ROOT, toDisk } from './owner-map.js';

/** A copying thread: one job, given with the thread, then it has nothing more to do. */
class CopyThread {
  readonly #port: MessagePort;
  readonly #queue: CopyRequest[] = [];
  #wake: () => void = () => undefined;
  #credits = CHUNKS_AHEAD;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (request: CopyRequest) => {
      this.#queue.push(request);
      this.#wake();
    });
  }

  async run(job: CopyJob): Promise<void> {
    try {
      await this.#carryOut(job);
      this.#post({ type: 'done' });
    } catch (error) {
      this.#post({ type: 'failed', kind: kindOf(error), message: describeError(error) });
    } finally {
      this.#port.close();
    }
  }

  #carryOut(job: CopyJob): Promise<void> | void {
    switch (job.type) {
      case 'pack':
        return this.#pack(job);
      case 'pack-root':
        return this.#packRoot(job);
      case 'unpack':
        return this.#unpack(job);
      case 'diff':
      case 'diff-copy':
        return this.#post({ type: 'changes', changes: diff(job) });
      case 'measure':
        return this.#post({ type: 'bytes', bytes: measureTrees(job.paths) });
    }
  }

  async #pack(job: CopyJob & { type: 'pack' }): Promise<void> {
    const { root, mounts } = job.view;
    const tree = new RootedTree(root, mounts);
    const top = tree.find(toByteString(job.path), { followLast: job.followLink });
    const topName = topNameOf(job.path);
    this.#post({ type: 'stat', stat: statOf(tree, top, topName) });
    const options = { topName: toByteString(topName), ...packing(job.view) };
    await this.#send(packTree(tree, top, options));
  }

  async #packRoot(job: CopyJob & { type: 'pack-root' }): Promise<void> {
    const { root, mounts } = job.view;
    const tree = new RootedTree(root, mounts);
    const top = tree.find('/', { followLast: true });
    await this.#send(packTree(tree, top, { topName: '', ...packing(job.view) }));
  }

  async #send(pieces: Iterable<Uint8Array>): Promise<void> {
    for (const bytes of inChunks(pieces)) {
      this.#post({ type: 'chunk', bytes }, [bytes.buffer]);
      this.#credits--;
      // Also lets a cancellation in, which waits in the queue while files are read.
      await this.#takeCredits();
    }
  }

  async #takeCredits(): Promise<void> {
    await new Promise(setImmediate);
    while (this.#queue.length > 0 || this.#credits <= 0) {
      const request = await this.#next();
      if (request.type === 'more') this.#credits++;
    }
  }

  async #unpack(job: CopyJob & { type: 'unpack' }): Promise<void> {
    const { root, mounts, readOnly, idMap } = job.view;
    const tree = new RootedTree(root, mounts, readOnly);
    const target = openTarget(tree, toByteString(job.path));
    const unpacker = new TreeUnpacker(tree, target, {
      calls: fileCalls,
      rootOwner: toDisk(ROOT, idMap),
      ownerOf: (entry) => toDisk(job.copyOwners ? entry : ROOT, idMap),
      followLinks: true,
    });
    try {
      for (;;) {
        this.#post({ type: 'taken' });
        const request = await this.#next();
        if (request.type === 'end') break;
        if (request.type === 'chunk') unpacker.push(request.bytes);
      }
      unpacker.end();
    } finally {
      unpacker[Symbol.dispose]();
    }
  }

  /** @throws {HatobaError} cancelled */
  async #next(): Promise<CopyRequest> {
    for (;;) {
      const request = this.#queue.shift();
      if (request?.type === 'cancel') throw new HatobaError('cancelled', 'copying was cancelled');
      if (request !== undefined) return request;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #post(message: CopyMessage, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}

function packing({ idMap }: TreeView): Pick<PackOptions, 'calls' | 'mapOwner'> {
  return { calls: fileCalls, mapOwner: (owner) => fromDisk(owner, idMap) };
}

function statOf(tree: RootedTree, node: TreeNode, name: string): PathStat {
  const { stat } = node;
  return {
    name,
    sizeBytes: Number(stat.size),
    mode: Number(stat.mode),
    modifiedAtMs: Math.floor(Number(stat.mtimeNs) / 1e6),
    linkTarget: stat.isSymbolicLink() ? byteText(leadsTo(tree, node)) : '',
  };
}

/** Where a link leads inside the tree, followed to its end; the end may be missing. */
function leadsTo(tree: RootedTree, link: TreeNode): string {
  const walked = tree.walk(link.path, { followLast: true });
  if ('node' in walked) return walked.node.path;
  const { parent, missing } = walked;
  return `${parent.path === '/' ? '' : parent.path}/${missing}`;
}

function diff(job: CopyJob & { type: 'diff' | 'diff-copy' }): PathChange[] {
  const own = new Set(job.ownPaths.map(toByteString));
  const isCopy = job.type === 'diff-copy';
  const options = { calls: fileCalls, hasUpper: !isCopy, idMap: job.idMap };
  const after = MergedNode.top(isCopy ? [job.root] : job.layers, options);
  const before = MergedNode.top(isCopy ? job.layers : job.layers.slice(1), {
    calls: fileCalls,
    hasUpper: false,
    idMap: undefined,
  });
  return planDiff(before, after, (path) => own.has(path)).map(({ kind, path }) => ({
    kind,
    path: byteText(path),
  }));
}

invariant(parentPort, 'this file runs in a worker thread only');
void new CopyThread(parentPort).run(workerData as CopyJob); // answers success and failure itself
