import { assertNever } from '../../common/assert.js';
import { HatobaError } from '../../common/errors.js';
import type { NetlinkOp } from '../ports.js';
import { familyOf, parseCidr, parseIp, parseMac } from './address.js';
import * as c from './constants.js';
import { MessageWriter, cString, nested, nestedType, u16be, u32, u8 } from './message.js';

/** What an op needs of the namespace it is for. */
export interface Surroundings {
  /** Index of a link. @throws {HatobaError} not-found */
  linkIndex(name: string): number;
  /** A descriptor of a namespace file, open until the message is sent. */
  netnsFd(path: string): number;
}

const CREATE = c.NLM_F_CREATE | c.NLM_F_EXCL;
const PUT = c.NLM_F_CREATE | c.NLM_F_REPLACE;
const MAX_NAME_BYTES = 15;

/** The request for one change. @throws {HatobaError} invalid-argument; not-found */
export function encodeOp(op: NetlinkOp, around: Surroundings): MessageWriter {
  switch (op.op) {
    case 'link-add':
      return encodeLinkAdd(op, around);
    case 'link-set':
      return encodeLinkSet(op, around);
    case 'link-del':
      return request(c.RTM_DELLINK, 0, linkHeader()).attribute(c.IFLA.IFNAME, linkName(op.name));
    case 'bridge-port':
      return encodeBridgePort(op);
    case 'address-add':
    case 'address-del':
      return encodeAddress(op, around);
    case 'route-add':
    case 'route-del':
      return encodeRoute(op, around);
    case 'neigh-add':
    case 'neigh-del':
      return encodeNeighbour(op, around);
    case 'fdb-add':
    case 'fdb-del':
      return encodeFdb(op, around);
    default:
      return assertNever(op);
  }
}

function request(type: number, flags: number, fixed: Buffer): MessageWriter {
  return new MessageWriter(type, c.NLM_F_REQUEST | c.NLM_F_ACK | flags, fixed);
}

/** struct ifinfomsg */
export function linkHeader(
  options: { index?: number; flags?: number; change?: number } = {},
): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(options.index ?? 0, 4);
  header.writeUInt32LE(options.flags ?? 0, 8);
  header.writeUInt32LE(options.change ?? 0, 12);
  return header;
}

/** A link's name as an attribute. @throws {HatobaError} invalid-argument */
export function linkName(name: string): Buffer {
  if (name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES || /[\s/:]/.test(name)) {
    throw new HatobaError(
      'invalid-argument',
      `"${name}" is no name for a link: 1 to ${MAX_NAME_BYTES} characters without "/", ":" or space`,
    );
  }
  return cString(name);
}

const optionalMac = (mac?: string): Buffer | undefined =>
  mac === undefined ? undefined : parseMac(mac);
const optionalU32 = (value?: number): Buffer | undefined =>
  value === undefined ? undefined : u32(value);

type LinkAdd = Extract<NetlinkOp, { op: 'link-add' }>;

function encodeLinkAdd(op: LinkAdd, around: Surroundings): MessageWriter {
  const mac = 'mac' in op ? op.mac : undefined;
  return request(c.RTM_NEWLINK, CREATE, linkHeader())
    .attribute(c.IFLA.IFNAME, linkName(op.name))
    .attribute(c.IFLA.ADDRESS, optionalMac(mac))
    .attribute(c.IFLA.MTU, optionalU32(op.mtuBytes))
    .attribute(
      nestedType(c.IFLA.LINKINFO),
      nested([
        [c.IFLA_INFO.KIND, cString(op.kind)],
        [nestedType(c.IFLA_INFO.DATA), linkData(op, around)],
      ]),
    );
}

function linkData(op: LinkAdd, around: Surroundings): Buffer | undefined {
  switch (op.kind) {
    case 'bridge':
      return undefined;
    case 'vxlan': {
      const local = parseIp(op.localAddress);
      return nested([
        [c.IFLA_VXLAN.ID, u32(op.vni)],
        [local.length === 4 ? c.IFLA_VXLAN.LOCAL : c.IFLA_VXLAN.LOCAL6, local],
        [c.IFLA_VXLAN.PORT, u16be(op.port)],
        [c.IFLA_VXLAN.LEARNING, u8(0)],
      ]);
    }
    case 'veth': {
      // The peer cannot be created up (ENOTCONN): it is raised later, inside its namespace.
      const peer = nested(
        [
          [c.IFLA.IFNAME, linkName(op.peer.name)],
          [c.IFLA.ADDRESS, optionalMac(op.peer.mac)],
          [c.IFLA.MTU, optionalU32(op.mtuBytes)],
          [c.IFLA.NET_NS_FD, u32(around.netnsFd(op.peer.netns))],
        ],
        linkHeader(),
      );
      return nested([[nestedType(c.VETH_INFO_PEER), peer]]);
    }
    default:
      return assertNever(op);
  }
}

type LinkSet = Extract<NetlinkOp, { op: 'link-set' }>;

function encodeLinkSet(op: LinkSet, around: Surroundings): MessageWriter {
  const isRenamed = op.newName !== undefined && op.newName !== op.name;
  // By name where possible: then the link may be one made in the same message.
  const header = linkHeader({
    ...(isRenamed ? { index: around.linkIndex(op.name) } : {}),
    ...(op.up === undefined ? {} : { change: c.IFF_UP, flags: op.up ? c.IFF_UP : 0 }),
  });
  const master = op.master === null ? 0 : op.master && around.linkIndex(op.master);
  return request(c.RTM_SETLINK, 0, header)
    .attribute(c.IFLA.IFNAME, linkName(op.newName ?? op.name))
    .attribute(c.IFLA.MASTER, typeof master === 'number' ? u32(master) : undefined)
    .attribute(c.IFLA.MTU, optionalU32(op.mtuBytes))
    .attribute(c.IFLA.ADDRESS, optionalMac(op.mac))
    .attribute(
      c.IFLA.NET_NS_FD,
      op.netns === undefined ? undefined : u32(around.netnsFd(op.netns)),
    );
}

function encodeBridgePort(op: Extract<NetlinkOp, { op: 'bridge-port' }>): MessageWriter {
  const flag = (value?: boolean): Buffer | undefined =>
    value === undefined ? undefined : u8(value ? 1 : 0);
  const settings = nested([
    [c.IFLA_BRPORT.LEARNING, flag(op.learning)],
    [c.IFLA_BRPORT.UNICAST_FLOOD, flag(op.flood)],
    [c.IFLA_BRPORT.MCAST_FLOOD, flag(op.mcastFlood)],
    [c.IFLA_BRPORT.BCAST_FLOOD, flag(op.bcastFlood)],
    [c.IFLA_BRPORT.NEIGH_SUPPRESS, flag(op.neighSuppress)],
    [c.IFLA_BRPORT.PROXYARP, flag(op.proxyArp)],
    [c.IFLA_BRPORT.HAIRPIN, flag(op.hairpin)],
    [c.IFLA_BRPORT.ISOLATED, flag(op.isolated)],
  ]);
  return request(c.RTM_NEWLINK, 0, linkHeader())
    .attribute(c.IFLA.IFNAME, linkName(op.name))
    .attribute(
      nestedType(c.IFLA.LINKINFO),
      nested([
        [c.IFLA_INFO.SLAVE_KIND, cString('bridge')],
        [nestedType(c.IFLA_INFO.SLAVE_DATA), settings],
      ]),
    );
}

function encodeAddress(
  op: Extract<NetlinkOp, { op: 'address-add' | 'address-del' }>,
  around: Surroundings,
): MessageWriter {
  const { address, prefix } = parseCidr(op.cidr);
  const header = Buffer.alloc(8); // struct ifaddrmsg
  header.writeUInt8(familyOf(address), 0);
  header.writeUInt8(prefix, 1);
  header.writeUInt32LE(around.linkIndex(op.link), 4);
  const isAdd = op.op === 'address-add';
  return request(isAdd ? c.RTM_NEWADDR : c.RTM_DELADDR, isAdd ? CREATE : 0, header)
    .attribute(c.IFA.LOCAL, address)
    .attribute(c.IFA.ADDRESS, address);
}

type Route = Extract<NetlinkOp, { op: 'route-add' | 'route-del' }>;

function encodeRoute(op: Route, around: Surroundings): MessageWriter {
  const via = op.via === undefined ? undefined : parseIp(op.via);
  const to = op.destination === 'default' ? undefined : parseCidr(op.destination);
  const table = op.table ?? c.RT_TABLE_MAIN;
  const header = Buffer.alloc(12); // struct rtmsg
  header.writeUInt8(familyOf(to?.address ?? via ?? Buffer.alloc(4)), 0);
  header.writeUInt8(to?.prefix ?? 0, 1);
  header.writeUInt8(table < 256 ? table : 0, 4);
  header.writeUInt8(c.RT_SCOPE_NOWHERE, 6); // to delete: of any scope
  if (op.op === 'route-add') fillNewRoute(header, via !== undefined, op.onlink === true);
  const [type, flags] = op.op === 'route-add' ? [c.RTM_NEWROUTE, PUT] : [c.RTM_DELROUTE, 0];
  return request(type, flags, header)
    .attribute(c.RTA.DST, to?.address)
    .attribute(c.RTA.GATEWAY, via)
    .attribute(c.RTA.PREFSRC, op.source === undefined ? undefined : parseIp(op.source))
    .attribute(c.RTA.OIF, op.link === undefined ? undefined : u32(around.linkIndex(op.link)))
    .attribute(c.RTA.TABLE, u32(table));
}

function fillNewRoute(header: Buffer, hasGateway: boolean, isOnlink: boolean): void {
  header.writeUInt8(c.RTPROT_STATIC, 5);
  header.writeUInt8(hasGateway ? c.RT_SCOPE_UNIVERSE : c.RT_SCOPE_LINK, 6);
  header.writeUInt8(c.RTN_UNICAST, 7);
  header.writeUInt32LE(isOnlink ? c.RTNH_F_ONLINK : 0, 8);
}

/** struct ndmsg */
function neighbourHeader(family: number, link: number, state: number, flags: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(family, 0);
  header.writeInt32LE(link, 4);
  header.writeUInt16LE(state, 8);
  header.writeUInt8(flags, 10);
  return header;
}

function encodeNeighbour(
  op: Extract<NetlinkOp, { op: 'neigh-add' | 'neigh-del' }>,
  around: Surroundings,
): MessageWriter {
  const address = parseIp(op.address);
  const header = neighbourHeader(
    familyOf(address),
    around.linkIndex(op.link),
    op.op === 'neigh-add' ? c.NUD_PERMANENT : 0,
    0,
  );
  if (op.op === 'neigh-del') {
    return request(c.RTM_DELNEIGH, 0, header).attribute(c.NDA.DST, address);
  }
  return request(c.RTM_NEWNEIGH, PUT, header)
    .attribute(c.NDA.DST, address)
    .attribute(c.NDA.LLADDR, parseMac(op.mac));
}

function encodeFdb(
  op: Extract<NetlinkOp, { op: 'fdb-add' | 'fdb-del' }>,
  around: Surroundings,
): MessageWriter {
  const mac = parseMac(op.mac);
  const isSelf = op.where === 'self';
  if (isSelf && op.op === 'fdb-add' && op.destination === undefined) {
    throw new HatobaError('invalid-argument', 'an entry of the device itself needs a destination');
  }
  const state = isSelf ? c.NUD_NOARP | c.NUD_PERMANENT : c.NUD_NOARP | c.NUD_REACHABLE;
  const header = neighbourHeader(
    c.AF_BRIDGE,
    around.linkIndex(op.link),
    state,
    isSelf ? c.NTF_SELF : c.NTF_MASTER,
  );
  const isAdd = op.op === 'fdb-add';
  // A group address (or all zeros, the default) has one entry per destination: none replaces another.
  const isGroup = ((mac[0] ?? 0) & 1) === 1 || mac.every((b) => b === 0);
  const add = isSelf && isGroup ? c.NLM_F_CREATE | c.NLM_F_APPEND : PUT;
  return request(isAdd ? c.RTM_NEWNEIGH : c.RTM_DELNEIGH, isAdd ? add : 0, header)
    .attribute(c.NDA.LLADDR, mac)
    .attribute(
      c.NDA.DST,
      isSelf && op.destination !== undefined ? parseIp(op.destination) : undefined,
    );
}
