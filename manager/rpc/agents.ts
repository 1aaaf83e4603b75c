import { HatobaError } from '../../common/errors.js';
import type { Node } from '../../common/model/objects.js';
import { toWord } from '../../common/model/words.js';
import { AgentClient } from '../../proto/gen/hatoba/v1/agent.js';
import { NodeState } from '../../proto/gen/hatoba/v1/types.js';
import { openClient } from '../../proto/wire/client.js';
import type { TlsIdentity } from '../../proto/wire/tls.js';
import { nodeLabel } from '../core/node-label.js';
import type { View } from '../view/view.js';

export { nodeLabel };

/**
 * Whether nothing can come of a connection any more. One that was silent for a moment may go on with
 * what is under way; an agent that starts anew is told by its session.
 */
function isGone({ status }: Node): boolean {
  if (status.state === NodeState.DISCONNECTED) return status.unreachable;
  return status.state !== NodeState.READY;
}

/** Connections from this manager to the agents, one per node, opened when first needed. */
export class AgentConnections implements AsyncDisposable {
  readonly #view: View;
  readonly #identity: TlsIdentity;
  readonly #byNode = new Map<string, { address: string; client: AgentClient }>();
  readonly #unsubscribe: () => void;

  constructor(modules: { view: View; identity: TlsIdentity }) {
    this.#view = modules.view;
    this.#identity = modules.identity;
    this.#unsubscribe = modules.view.onChange((changes) => {
      for (const { kind, type, object } of changes) {
        if (kind !== 'node') continue;
        if (type === 'delete' || isGone(object)) this.forget(object.id);
      }
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    for (const nodeId of [...this.#byNode.keys()]) this.forget(nodeId);
    return Promise.resolve();
  }

  /**
   * The agent of a node that is ready.
   * @throws {HatobaError} unavailable when the node is gone or not ready
   */
  of(nodeId: string): AgentClient {
    const node = this.#view.node(nodeId);
    if (node === undefined) throw new HatobaError('unavailable', `node ${nodeId} is gone`);
    if (node.status.state !== NodeState.READY) {
      throw new HatobaError(
        'unavailable',
        `node ${nodeLabel(node)} is ${toWord(node.status.state)}`,
      );
    }
    const address = node.description.agentAddress;
    const present = this.#byNode.get(nodeId);
    if (present?.address === address) return present.client;
    this.forget(nodeId);
    const client = openClient(AgentClient, {
      address,
      // The node's own id: an address taken over by another node must not answer for it.
      security: { kind: 'mtls', identity: this.#identity, serverName: nodeId },
    });
    this.#byNode.set(nodeId, { address, client });
    return client;
  }

  /**
   * Closes the connection to a node: its agent is gone, or started anew. A connection to an agent
   * whose host lost its power looks alive until something is sent.
   */
  forget(nodeId: string): void {
    this.#byNode.get(nodeId)?.client.close();
    this.#byNode.delete(nodeId);
  }
}
