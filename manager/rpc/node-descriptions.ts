import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { NodeDescription } from '../../common/model/objects.js';
import { checkDescription, describeAgain } from './node-registry.js';
import type { ClusterAccess } from './write-plan.js';

/**
 * Writes down what connected nodes tell anew of themselves. One write of a node at a time, of the
 * newest it told; one that fails is tried again at the node's next heartbeat, which waits for none.
 */
export class NodeDescriptions implements AsyncDisposable {
  readonly #cluster: ClusterAccess;
  readonly #logger: Logger;
  readonly #unwritten = new Map<string, NodeDescription>();
  readonly #writing = new Map<string, Promise<void>>();
  readonly #end = new AbortController();

  constructor(cluster: ClusterAccess, modules: { logger: Logger }) {
    this.#cluster = cluster;
    this.#logger = modules.logger;
  }

  /**
   * To be called at each heartbeat.
   * @param description undefined: nothing new
   * @throws {HatobaError} invalid-argument for a description that the node could not be reached by
   */
  onHeartbeat(nodeId: string, description: NodeDescription | undefined): void {
    if (description !== undefined) {
      checkDescription(description);
      this.#unwritten.set(nodeId, description);
    }
    const isBusy = this.#writing.has(nodeId) || this.#end.signal.aborted;
    if (isBusy || !this.#unwritten.has(nodeId)) return;
    const writing = this.#write(nodeId).finally(() => this.#writing.delete(nodeId));
    this.#writing.set(nodeId, writing);
  }

  /** A session begins, which tells all: what was told in the one before it is old. */
  forget(nodeId: string): void {
    this.#unwritten.delete(nodeId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new HatobaError('unavailable', 'this manager is stopping'));
    await Promise.all(this.#writing.values());
  }

  async #write(nodeId: string): Promise<void> {
    let written: NodeDescription | undefined;
    const newest = (): NodeDescription | undefined => (written = this.#unwritten.get(nodeId));
    try {
      await describeAgain(this.#cluster, nodeId, newest, this.#end.signal);
      if (this.#unwritten.get(nodeId) === written) this.#unwritten.delete(nodeId);
    } catch (error) {
      this.#logger.warn('Could not record what a node tells of itself', { nodeId }, error);
    }
  }
}
