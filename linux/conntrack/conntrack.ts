import { errnoError, errnoName } from '../errno.js';
import { formatIp } from '../netlink/address.js';
import { NetlinkSocket } from '../netlink/socket.js';
import type { NetnsThread } from '../netns.js';
import { NetnsCache } from '../netns-cache.js';
import type { FlowFilter, FlowInfo } from '../ports.js';
import type { CallHandlers } from '../protocol.js';
import { NETLINK_NETFILTER } from './constants.js';
import { FlowEntry } from './decode.js';
import { encodeDelete, encodeDump, type FlowKey } from './encode.js';
import { protocolNumber, replySource, toMatcher } from './match.js';

const MAX_OPEN_NAMESPACES = 8;
/**
 * The kernel looks through its whole table for every dump, so of more addresses than these all that
 * is in it is asked for once.
 */
const MAX_FILTERED_DUMPS = 4;

type ConntrackCalls = 'conntrack.flows' | 'conntrack.countFlows' | 'conntrack.removeFlows';

/** The Conntrack port in the worker thread: one socket per namespace, kept open. */
export class LinuxConntrack {
  readonly #sockets: NetnsCache<NetlinkSocket>;

  constructor(thread: NetnsThread) {
    this.#sockets = new NetnsCache(thread, MAX_OPEN_NAMESPACES, {
      open: () => new NetlinkSocket(NETLINK_NETFILTER),
      close: (socket) => {
        socket.close();
      },
    });
  }

  readonly handlers: CallHandlers<ConntrackCalls> = {
    'conntrack.flows': (filter, netns) => {
      const flows: FlowInfo[] = [];
      this.#each(filter, netns, (entry) => flows.push(new FlowEntry(entry).decode()));
      return flows;
    },
    'conntrack.countFlows': (filter, netns) => {
      const counts = new Map<number, number>();
      this.#each(filter, netns, (entry) => {
        const reached = replySource(entry) ?? 0;
        counts.set(reached, (counts.get(reached) ?? 0) + 1);
      });
      return new Map(Array.from(counts, ([address, count]) => [toText(address), count]));
    },
    'conntrack.removeFlows': (filter, netns) => {
      const keys: FlowKey[] = [];
      this.#each(filter, netns, (entry) => keys.push(new FlowEntry(entry).key));
      return this.#remove(keys, netns);
    },
  };

  /** Closes what is open in a namespace about to end. */
  drop(path: string): void {
    this.#sockets.drop(path);
  }

  close(): void {
    this.#sockets.close();
  }

  #each(filter: FlowFilter, netns: string | undefined, visit: (entry: Buffer) => void): void {
    const matches = toMatcher(filter);
    const { reached, protocols = [] } = filter;
    const protocol = protocols.length === 1 ? protocols.map(protocolNumber)[0] : undefined;
    const isFew = !('within' in reached) && reached.length <= MAX_FILTERED_DUMPS;
    const sources = isFew ? [...new Set(reached)] : [undefined];
    for (const source of sources) {
      const action = `listing flows to ${source ?? 'any address'}${inNamespace(netns)}`;
      this.#sockets.get(netns).stream(encodeDump({ source, protocol }), action, ({ payload }) => {
        if (matches(payload)) visit(payload);
      });
    }
  }

  #remove(keys: readonly FlowKey[], netns: string | undefined): number {
    if (keys.length === 0) return 0;
    let removed = 0;
    for (const { errno, reason } of this.#sockets.get(netns).execute(keys.map(encodeDelete))) {
      if (errno === 0) removed++;
      // it has ended meanwhile, or another one has taken its place
      else if (errnoName(errno) !== 'ENOENT') {
        throw errnoError(`removing a flow${inNamespace(netns)}`, errno, reason);
      }
    }
    return removed;
  }
}

function toText(address: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(address);
  return formatIp(bytes);
}

function inNamespace(netns: string | undefined): string {
  return netns === undefined ? '' : ` in ${netns}`;
}
