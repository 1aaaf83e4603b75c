import type { NetworkState, SandboxConfig } from './core/network-state.js';

export type { NetworkState, SandboxConfig };

export interface Sandbox {
  id: string;
  netnsPath: string;
  /** The gateway addresses at which DNS answers, first the first network's. */
  nameservers: readonly string[];
  /** Ports of this node that lead to it alone. */
  hostPorts: SandboxConfig['hostPorts'];
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
  /**
   * How many connections others have opened to these addresses, of containers of this node, by which
   * data may still come. Of protocols without connections, none.
   */
  openConnections(addresses: readonly string[]): Promise<number>;
  /**
   * Ends connections to addresses of the networks that nobody has, by the state applied last: left
   * from a time when no process kept up with the changes. For once that state is known to be newer.
   */
  endStaleConnections(): Promise<void>;
  /**
   * Resolves once, by the states applied so far, who gets nothing new gets no further packet of UDP
   * from here either.
   */
  leavingDone(): Promise<void>;
  /** The sandboxes there are, also those of a former process. */
  list(): Promise<Sandbox[]>;
  /**
   * Compares the kernel with what was applied, and repairs what others have changed. It happens by
   * itself every few seconds, too.
   */
  checkDrift(): Promise<void>;
  /** Takes down everything this driver made on this machine. */
  teardown(): Promise<void>;
}
