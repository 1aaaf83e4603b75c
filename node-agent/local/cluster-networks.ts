import type { Clock } from '../../common/clock.js';
import { HatobaError, isKind } from '../../common/errors.js';
import { subnetAround } from '../../overlay-net/core/subnets.js';
import type { AttachContainerResponse } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { NetworkJoin } from '../../proto/gen/hatoba/v1/engine.js';
import type { ClusterAttachment, JoinedNetwork } from './attachment.js';
import type { AttachmentReports, NewContainer } from './attachment-reports.js';
import { addressOf } from '../../overlay-net/core/ipam.js';

/** How long the start of a container waits for its networks. */
const PATIENCE_MS = 10_000;

export interface ClusterNetworksModules {
  readonly reports: Pick<AttachmentReports, 'join'>;
  /** Why a network is not in force on this node; empty when it is. */
  readonly reasonFor: (networkId: string) => string;
  readonly clock: Clock;
}

/** The networks of the cluster, for containers of this node alone. */
export class ClusterNetworks {
  readonly #modules: ClusterNetworksModules;
  readonly #waiting = new Set<() => void>();

  constructor(modules: ClusterNetworksModules) {
    this.#modules = modules;
  }

  /**
   * Has the managers give a container its addresses.
   * @throws {HatobaError} unavailable when they cannot be reached; and as they refuse it
   */
  async join(container: NewContainer, wanted: readonly NetworkJoin[]): Promise<JoinedNetwork[]> {
    const joined: JoinedNetwork[] = [];
    for (const join of wanted) {
      const network = toJoined(await this.#ask(container, join), join);
      if (joined.some(({ networkId }) => networkId === network.networkId)) {
        throw new HatobaError(
          'invalid-argument',
          `network "${network.name}" is named twice: a container is on a network once`,
        );
      }
      joined.push(network);
    }
    return joined;
  }

  /**
   * Resolves when all networks of a container are in force on this node.
   * @throws {HatobaError} unavailable, saying why, when they are not in time
   */
  async ready({ networks }: ClusterAttachment): Promise<void> {
    const missing = (): readonly JoinedNetwork[] =>
      networks.filter(({ networkId }) => this.#modules.reasonFor(networkId) !== '');
    const late = new AbortController();
    const cancel = this.#modules.clock.setTimer(PATIENCE_MS, () => {
      late.abort();
      this.changed(); // all look again
    });
    try {
      while (missing().length > 0) {
        if (late.signal.aborted) throw this.#notThere(missing());
        await this.#nextChange();
      }
    } finally {
      cancel();
    }
  }

  /** The networks in force, or the reasons why some are not, have changed. */
  changed(): void {
    for (const resolve of [...this.#waiting]) resolve();
  }

  async #ask(container: NewContainer, join: NetworkJoin): Promise<AttachContainerResponse> {
    try {
      return await this.#modules.reports.join(container, join);
    } catch (error) {
      if (!isKind(error, 'unavailable', 'deadline')) throw error;
      throw new HatobaError(
        'unavailable',
        `network "${join.network}" cannot be joined: the managers, who give addresses on it, cannot be reached from this node now; try again, or use the network "bridge" of this node`,
        { cause: error },
      );
    }
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        resolve();
      };
      this.#waiting.add(done);
    });
  }

  #notThere(missing: readonly JoinedNetwork[]): HatobaError {
    const reasons = missing.map(
      ({ networkId, name }) => `network "${name}": ${this.#modules.reasonFor(networkId)}`,
    );
    return new HatobaError(
      'unavailable',
      `not there on this node after ${PATIENCE_MS / 1000} s: ${reasons.join('; ')}`,
    );
  }
}

function toJoined(
  { attachment, network }: AttachContainerResponse,
  { aliases }: NetworkJoin,
): JoinedNetwork {
  if (attachment === undefined || network === undefined) {
    throw new HatobaError('internal', 'a manager answered without an address');
  }
  const { networkId, name } = network;
  const { address } = attachment;
  const subnet = subnetAround(network, addressOf(address));
  return { networkId, name, address, gateway: subnet?.gateway ?? '', aliases };
}
