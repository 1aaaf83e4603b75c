import { formatIp } from '../netlink/address.js';
import { type Attributes, parseAttributes } from '../netlink/message.js';
import type { FlowInfo, FlowTuple } from '../ports.js';
import * as c from './constants.js';
import type { FlowKey } from './encode.js';

const NOTHING = Buffer.alloc(0);

/** One entry of the table as it came; what is asked of it is decoded then. */
export class FlowEntry {
  readonly #attributes: Attributes;

  constructor(payload: Buffer) {
    this.#attributes = parseAttributes(payload, c.NFGENMSG_BYTES);
  }

  /** A copy: the buffer that the entry came in is used again. */
  get key(): FlowKey {
    const copy = (type: number): Buffer | undefined => {
      const value = this.#attributes.get(type);
      return value === undefined ? undefined : Buffer.from(value);
    };
    return {
      originalTuple: copy(c.CTA.TUPLE_ORIG) ?? NOTHING,
      id: copy(c.CTA.ID),
      zone: copy(c.CTA.ZONE),
    };
  }

  decode(): FlowInfo {
    const original = this.#nested(c.CTA.TUPLE_ORIG);
    const protocol = protocolOf(original);
    const zone = this.#attributes.get(c.CTA.ZONE)?.readUInt16BE() ?? 0;
    return {
      protocol,
      state: this.#state(protocol),
      original: toTuple(original),
      reply: toTuple(this.#nested(c.CTA.TUPLE_REPLY)),
      mark: this.#attributes.get(c.CTA.MARK)?.readUInt32BE() ?? 0,
      zone,
    };
  }

  #state(protocol: string): string {
    const info = this.#nested(c.CTA.PROTOINFO);
    const [type, names] =
      protocol === 'tcp'
        ? [c.CTA_PROTOINFO.TCP, c.TCP_STATES]
        : [c.CTA_PROTOINFO.SCTP, c.SCTP_STATES];
    const number = parseAttributes(info.get(type) ?? NOTHING).get(c.CTA_PROTOINFO_STATE)?.[0];
    return number === undefined ? '' : (names[number] ?? `state ${number}`);
  }

  #nested(type: number): Attributes {
    return parseAttributes(this.#attributes.get(type) ?? NOTHING);
  }
}

function protocolOf(tuple: Attributes): string {
  const number = parseAttributes(tuple.get(c.CTA_TUPLE.PROTO) ?? NOTHING).get(c.CTA_PROTO.NUM)?.[0];
  return c.IP_PROTOCOLS.get(number ?? 0) ?? `protocol ${number ?? 0}`;
}

function toTuple(tuple: Attributes): FlowTuple {
  const ip = parseAttributes(tuple.get(c.CTA_TUPLE.IP) ?? NOTHING);
  const proto = parseAttributes(tuple.get(c.CTA_TUPLE.PROTO) ?? NOTHING);
  const port = (type: number): number => proto.get(type)?.readUInt16BE() ?? 0;
  return {
    source: formatIp(ip.get(c.CTA_IP.V4_SRC) ?? NOTHING),
    destination: formatIp(ip.get(c.CTA_IP.V4_DST) ?? NOTHING),
    sourcePort: port(c.CTA_PROTO.SRC_PORT),
    destinationPort: port(c.CTA_PROTO.DST_PORT),
  };
}
