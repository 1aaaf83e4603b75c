import type {
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
} from '../proto/gen/hatoba/v1/dispatcher.js';

/** All that this node must know of its networks, at one revision of the store. */
export interface NetworkState {
  /** Id of this node; its own peer is among `peers`. */
  nodeId: string;
  networks: readonly NetworkConfig[];
  endpoints: readonly NetworkEndpoint[];
  services: readonly NetworkService[];
  peers: readonly NetworkPeer[];
}

/** A container's network: a namespace with one link per network. */
export interface SandboxConfig {
  /** Chosen by the caller, for example the task's id. */
  id: string;
  /** In order: eth0, eth1 …; the default route is by the ingress network if it is among them, else
   *  by the first one that is not internal. */
  attachments: readonly { networkId: string; address: string /* CIDR */ }[];
  /** Ports of this node that lead to this container alone (publish mode host). */
  hostPorts: readonly {
    protocol: 'tcp' | 'udp' | 'sctp';
    hostIp: string;
    publishedPort: number;
    targetPort: number;
  }[];
}

export interface Sandbox {
  id: string;
  netnsPath: string;
  /** The gateway addresses at which DNS answers, first the first network's. */
  nameservers: readonly string[];
}

/**
 * The networks of one machine: bridges, VXLAN, DNS, service addresses and published ports, in the
 * network namespace of its process. Kernel state is compared with what is wanted, so a new process
 * on the same machine takes over what it finds.
 */
export interface NetworkDriver extends AsyncDisposable {
  /**
   * Brings kernel and DNS to `state`, by the difference only. Calls are run one after the other;
   * a call superseded by a newer one may be skipped.
   */
  apply(state: NetworkState): Promise<void>;
  /** Makes the namespace and its links; its networks must have been applied. Undone if it throws. */
  attach(config: SandboxConfig): Promise<Sandbox>;
  /** Unknown id: success. */
  detach(id: string): Promise<void>;
  /** The sandboxes there are, also those of a former process. */
  list(): Promise<Sandbox[]>;
  /** Takes down everything this driver made on this machine. */
  teardown(): Promise<void>;
}
