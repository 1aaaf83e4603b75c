import type {
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
} from '../../proto/gen/hatoba/v1/dispatcher.js';

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
  /** Its own resolvers for names that are not of its networks; absent: those of the host. */
  dns?: { upstreams: readonly string[] };
}
