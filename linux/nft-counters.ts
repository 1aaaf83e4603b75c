import { HatobaError } from '../common/errors.js';
import { NLM_F_REQUEST } from './netlink/constants.js';
import { cString, MessageWriter, parseAttributes } from './netlink/message.js';
import { NetlinkSocket } from './netlink/socket.js';
import type { NftCounter } from './ports.js';

const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETOBJ = 19;
const NFTA_OBJ = { TABLE: 1, NAME: 2, TYPE: 3, DATA: 4 } as const;
const NFT_OBJECT_COUNTER = 1;
const NFTA_COUNTER_PACKETS = 2;
const NFPROTO = { ip: 2, bridge: 7 } as const;
const HEADER_BYTES = 4; // struct nfgenmsg

/** Named counters of one namespace: libnftables would read the whole table for each. */
export class NftCounters {
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER);

  close(): void {
    this.#socket.close();
  }

  /** @throws {HatobaError} not-found */
  packets({ family, table, name }: NftCounter): number {
    const action = `reading the counter ${name} of table ${family} ${table}`;
    const type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETOBJ;
    const header = Buffer.from([NFPROTO[family], 0, 0, 0]);
    const kind = Buffer.alloc(4);
    kind.writeUInt32BE(NFT_OBJECT_COUNTER);
    const request = new MessageWriter(type, NLM_F_REQUEST, header)
      .attribute(NFTA_OBJ.TABLE, cString(table))
      .attribute(NFTA_OBJ.NAME, cString(name))
      .attribute(NFTA_OBJ.TYPE, kind);
    const answer = this.#socket.get(request, action);
    const data = answer && parseAttributes(answer.payload, HEADER_BYTES).get(NFTA_OBJ.DATA);
    const packets = data && parseAttributes(data).get(NFTA_COUNTER_PACKETS);
    if (packets === undefined) throw new HatobaError('internal', `${action}: the kernel told none`);
    return Number(packets.readBigUInt64BE());
  }
}
