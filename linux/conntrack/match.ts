import { parseCidr, parseIp } from '../netlink/address.js';
import { NLA_TYPE_MASK } from '../netlink/constants.js';
import type { FlowFilter } from '../ports.js';
import * as c from './constants.js';

/** States between the first answer and the last word of either side. */
const OPEN_TCP: readonly string[] = [
  'syn_recv',
  'established',
  'fin_wait',
  'close_wait',
  'last_ack',
];
const OPEN_SCTP: readonly string[] = [
  'cookie_echoed',
  'established',
  'shutdown_sent',
  'shutdown_recd',
  'shutdown_ack_sent',
];
const TCP = 6;
const SCTP = 132;

/** Which entries of the table are meant. */
export type FlowMatcher = (entry: Buffer) => boolean;

/**
 * Reads from an entry only what it must, without making an object: there may be hundreds of
 * thousands of them.
 * @returns a function of an entry's payload, which begins with its struct nfgenmsg
 */
export function toMatcher(filter: FlowFilter): FlowMatcher {
  const isReached = toReached(filter.reached);
  const protocols = filter.protocols?.map(protocolNumber);
  return (entry) => {
    const source = replySource(entry);
    if (source === undefined || !isReached(source)) return false;
    if (protocols !== undefined && !protocols.includes(protocolOf(entry))) return false;
    if (filter.isTranslated === true && askedFor(entry) === source) return false;
    return filter.isOpen !== true || isOpen(entry, source);
  };
}

/** The address reached, as a number; undefined where an entry has none of IPv4. */
export function replySource(entry: Buffer): number | undefined {
  return addressAt(entry, c.CTA.TUPLE_REPLY, c.CTA_IP.V4_SRC);
}

function askedFor(entry: Buffer): number | undefined {
  return addressAt(entry, c.CTA.TUPLE_ORIG, c.CTA_IP.V4_DST);
}

function toReached(reached: FlowFilter['reached']): (address: number) => boolean {
  if ('within' in reached) {
    const subnets = reached.within.map((cidr) => {
      const { address, prefix } = parseCidr(cidr);
      const shift = 32 - prefix;
      return { base: Math.floor(address.readUInt32BE() / 2 ** shift), size: 2 ** shift };
    });
    const except = new Set(reached.except.map(toNumber));
    return (address) =>
      subnets.some(({ base, size }) => Math.floor(address / size) === base) && !except.has(address);
  }
  const addresses = new Set(reached.map(toNumber));
  return (address) => addresses.has(address);
}

function isOpen(entry: Buffer, reached: number): boolean {
  if (addressAt(entry, c.CTA.TUPLE_ORIG, c.CTA_IP.V4_SRC) === reached) return false;
  const protocol = protocolOf(entry);
  if (protocol === TCP) return OPEN_TCP.includes(stateOf(entry, c.CTA_PROTOINFO.TCP, c.TCP_STATES));
  if (protocol !== SCTP) return false;
  return OPEN_SCTP.includes(stateOf(entry, c.CTA_PROTOINFO.SCTP, c.SCTP_STATES));
}

function stateOf(entry: Buffer, kind: number, names: readonly string[]): string {
  const at = valueAt(entry, c.CTA.PROTOINFO, kind, c.CTA_PROTOINFO_STATE);
  return at === -1 ? '' : (names[entry.readUInt8(at)] ?? '');
}

function protocolOf(entry: Buffer): number {
  const at = valueAt(entry, c.CTA.TUPLE_ORIG, c.CTA_TUPLE.PROTO, c.CTA_PROTO.NUM);
  return at === -1 ? 0 : entry.readUInt8(at);
}

function addressAt(entry: Buffer, tuple: number, end: number): number | undefined {
  const at = valueAt(entry, tuple, c.CTA_TUPLE.IP, end);
  return at === -1 || at + 4 > entry.length ? undefined : entry.readUInt32BE(at);
}

/** Where the value of an attribute within attributes begins; -1 where there is none. */
function valueAt(entry: Buffer, ...path: readonly number[]): number {
  let from = c.NFGENMSG_BYTES;
  let to = entry.length;
  for (const type of path) {
    const at = attributeAt(entry, from, to, type);
    if (at === -1) return -1;
    from = at + 4;
    to = at + entry.readUInt16LE(at);
  }
  return from < to ? from : -1;
}

function attributeAt(bytes: Buffer, from: number, to: number, type: number): number {
  for (let at = from; at + 4 <= to;) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > to) return -1;
    if ((bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK) === type) return at;
    at += (length + 3) & ~3;
  }
  return -1;
}

function toNumber(address: string): number {
  return parseIp(address).readUInt32BE();
}

/** -1: of none. */
export function protocolNumber(name: string): number {
  for (const [number, known] of c.IP_PROTOCOLS) if (known === name) return number;
  return -1;
}
