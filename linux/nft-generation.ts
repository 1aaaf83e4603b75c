import { HatobaError } from '../common/errors.js';
import { NLM_F_REQUEST } from './netlink/constants.js';
import { MessageWriter, parseAttributes } from './netlink/message.js';
import { NetlinkSocket } from './netlink/socket.js';

const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETGEN = 16;
const NFTA_GEN_ID = 1;
const HEADER_BYTES = 4; // struct nfgenmsg

/**
 * Tells transactions of others from ours, by the number of a namespace's ruleset: it grows by one
 * with every transaction, of whomever.
 */
export class NftGeneration {
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER);
  /** What the number was after the last look. */
  #last: number | undefined;
  #isForeign = true;

  close(): void {
    this.#socket.close();
  }

  /** Runs one transaction of ours, of which nothing is left if it fails. */
  around<T>(transaction: () => T): T {
    this.#look(0);
    try {
      return transaction();
    } finally {
      this.#look(1);
    }
  }

  /** Whether there were others since the last call; true the first time. */
  takeForeign(): boolean {
    this.#look(0);
    const isForeign = this.#isForeign;
    this.#isForeign = false;
    return isForeign;
  }

  /** @param own how many transactions of ours there may have been since the last look */
  #look(own: number): void {
    const now = this.#read();
    const grown = this.#last === undefined ? 0 : now - this.#last;
    if (grown < 0 || grown > own) this.#isForeign = true;
    this.#last = now;
  }

  #read(): number {
    const action = 'reading the generation of the nftables ruleset';
    const type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN;
    const request = new MessageWriter(type, NLM_F_REQUEST, Buffer.alloc(HEADER_BYTES));
    const answer = this.#socket.get(request, action);
    const id = answer && parseAttributes(answer.payload, HEADER_BYTES).get(NFTA_GEN_ID);
    if (id === undefined) throw new HatobaError('internal', `${action}: the kernel told none`);
    return id.readUInt32BE();
  }
}
