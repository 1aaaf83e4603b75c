import { parseIp } from '../netlink/address.js';
import { AF_INET, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST } from '../netlink/constants.js';
import { MessageWriter, nested, nestedType, u32, u8 } from '../netlink/message.js';
import * as c from './constants.js';

/** What names one entry: the attributes, as they came from the kernel. */
export interface FlowKey {
  originalTuple: Buffer;
  /** Tells the entry from a later one of the same tuple. */
  id: Buffer | undefined;
  zone: Buffer | undefined;
}

/** What a dump is to tell of alone. */
export interface DumpFilter {
  /** Who answers. */
  source?: string | undefined;
  /** Number of the protocol. */
  protocol?: number | undefined;
}

/**
 * Asks for the IPv4 entries. A kernel older than 5.8 does not know the filter and tells of all, so the
 * answers must be looked through anyway.
 */
export function encodeDump({ source, protocol }: DumpFilter = {}): MessageWriter {
  const request = new MessageWriter(c.CT_GET, NLM_F_REQUEST | NLM_F_DUMP, ipv4Header());
  const parts: [number, Buffer][] = [];
  let flags = 0;
  if (source !== undefined) {
    parts.push([nestedType(c.CTA_TUPLE.IP), nested([[c.CTA_IP.V4_SRC, parseIp(source)]])]);
    flags |= c.CTA_FILTER_FLAG.IP_SRC;
  }
  if (protocol !== undefined) {
    parts.push([nestedType(c.CTA_TUPLE.PROTO), nested([[c.CTA_PROTO.NUM, u8(protocol)]])]);
    flags |= c.CTA_FILTER_FLAG.PROTO_NUM;
  }
  if (flags === 0) return request;
  const filter = nested([
    [c.CTA_FILTER.ORIG_FLAGS, u32(0)],
    [c.CTA_FILTER.REPLY_FLAGS, u32(flags)],
  ]);
  return request
    .attribute(nestedType(c.CTA.TUPLE_REPLY), nested(parts))
    .attribute(nestedType(c.CTA.FILTER), filter);
}

export function encodeDelete({ originalTuple, id, zone }: FlowKey): MessageWriter {
  return new MessageWriter(c.CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, ipv4Header())
    .attribute(nestedType(c.CTA.TUPLE_ORIG), originalTuple)
    .attribute(c.CTA.ID, id)
    .attribute(c.CTA.ZONE, zone);
}

function ipv4Header(): Buffer {
  const header = Buffer.alloc(c.NFGENMSG_BYTES);
  header.writeUInt8(AF_INET);
  return header;
}
