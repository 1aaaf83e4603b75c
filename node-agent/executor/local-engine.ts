import type { NetworkDriver } from '../../overlay-net/driver.js';
import type { Engine } from '../../runtime/engine.js';

/** What the agent needs of the container engine of its machine. */
export type LocalEngine = Engine;

/** What the agent needs of the networks of its machine. */
export type LocalNetworks = Pick<
  NetworkDriver,
  'apply' | 'attach' | 'detach' | 'list' | 'openConnections' | 'leavingDone' | 'endStaleConnections'
>;

export type {
  Containers,
  ExecOptions,
  ExecSession,
  Images,
  LogLine,
  TransferProgress,
} from '../../runtime/engine.js';
