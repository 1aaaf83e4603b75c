import type { Node } from '../../../common/model/objects.js';
import {
  NodeState,
  type PortConfig,
  type PortProtocol,
  type UsedPort,
} from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import type { Snapshot } from '../snapshot.js';

export interface UsedOnNode {
  readonly node: Node;
  readonly use: UsedPort;
}

/**
 * Ports that something other than services has on the nodes. What a node that is down had counts
 * for nothing: nobody knows whether it still is so.
 */
export class NodePorts {
  readonly #uses = new Map<string, UsedOnNode[]>();

  constructor(snapshot: Snapshot) {
    for (const node of snapshot.nodes()) {
      if (node.status.state === NodeState.DOWN) continue;
      for (const use of node.description.usedPorts) {
        const key = keyOf(use.protocol, use.port);
        this.#uses.set(key, [...(this.#uses.get(key) ?? []), { node, use }]);
      }
    }
  }

  /** The first that a port published on every node would be taken from. */
  find(port: PortConfig): UsedOnNode | undefined {
    return this.#uses
      .get(keyOf(port.protocol, port.publishedPort))
      ?.find(({ use }) => addressesMeet(use.hostIp, port.hostIp));
  }

  /** Whether any node uses a number, on whatever address. */
  isUsed(protocol: PortProtocol, port: number): boolean {
    return this.#uses.has(keyOf(protocol, port));
  }
}

function keyOf(protocol: PortProtocol, port: number): string {
  return `${port}/${protocol}`;
}

/** Whether two uses of a port meet: an empty address is every address. */
export function addressesMeet(a: string, b: string): boolean {
  return isEvery(a) || isEvery(b) || a === b;
}

function isEvery(address: string): boolean {
  return address === '' || address === '0.0.0.0';
}

/** "node n1 by sshd (pid 812)" */
export function holderOfPort({ node, use }: UsedOnNode): string {
  return `node ${nodeLabel(node)} by ${holderName(use)}`;
}

/** Processes choose their names, and messages with them go to terminals. */
export function holderName({ holder }: UsedPort): string {
  const name = holder.replace(/[^\x20-\x7e]/g, '?').slice(0, 128);
  return name === '' ? 'another program' : name;
}
