import type {
  AddressInfo,
  BridgePort,
  FdbInfo,
  LinkInfo,
  NeighbourInfo,
  RouteInfo,
  VxlanInfo,
} from '../ports.js';
import { formatIp, formatMac } from './address.js';
import * as c from './constants.js';
import { type Attributes, type Message, parseAttributes, readString, readU32 } from './message.js';

const ROUTE_HEADER_BYTES = 12;
const LINK_HEADER_BYTES = 16;

/** What `links()` tells, and what tells two links of a kind apart. */
export interface LinkDetails extends LinkInfo {
  /** Of a veth: the id of its peer's namespace, if that is another one. */
  peerNetnsId?: number;
}

export function decodeLink({ payload }: Message): LinkDetails {
  const attributes = parseAttributes(payload, LINK_HEADER_BYTES);
  const linkInfo = parseAttributes(attributes.get(c.IFLA.LINKINFO) ?? Buffer.alloc(0));
  const isLoopback = payload.readUInt16LE(2) === c.ARPHRD_LOOPBACK;
  const kind = readString(linkInfo, c.IFLA_INFO.KIND) ?? (isLoopback ? 'loopback' : '');
  const master = readU32(attributes, c.IFLA.MASTER);
  const data = linkInfo.get(c.IFLA_INFO.DATA);
  const isPort = readString(linkInfo, c.IFLA_INFO.SLAVE_KIND) === 'bridge';
  const port = linkInfo.get(c.IFLA_INFO.SLAVE_DATA);
  return {
    index: payload.readInt32LE(4),
    name: readString(attributes, c.IFLA.IFNAME) ?? '',
    kind,
    mac: formatMac(attributes.get(c.IFLA.ADDRESS) ?? Buffer.alloc(0)),
    mtuBytes: readU32(attributes, c.IFLA.MTU) ?? 0,
    up: (payload.readUInt32LE(8) & c.IFF_UP) !== 0,
    ...(master === undefined ? {} : { master }),
    ...(kind === 'vxlan' && data !== undefined ? { vxlan: decodeVxlan(data) } : {}),
    ...(kind === 'veth' ? decodeVeth(attributes) : {}),
    ...(isPort && port !== undefined ? { port: decodePort(port) } : {}),
  };
}

function decodeVeth(attributes: Attributes): Pick<LinkDetails, 'peer' | 'peerNetnsId'> {
  const peer = readU32(attributes, c.IFLA.LINK);
  const peerNetnsId = attributes.get(c.IFLA.LINK_NETNSID)?.readInt32LE();
  return {
    ...(peer === undefined ? {} : { peer }),
    ...(peerNetnsId === undefined ? {} : { peerNetnsId }),
  };
}

function decodePort(data: Buffer): BridgePort {
  const attributes = parseAttributes(data);
  const flag = (type: number): boolean => attributes.get(type)?.readUInt8() === 1;
  return {
    learning: flag(c.IFLA_BRPORT.LEARNING),
    flood: flag(c.IFLA_BRPORT.UNICAST_FLOOD),
    mcastFlood: flag(c.IFLA_BRPORT.MCAST_FLOOD),
    bcastFlood: flag(c.IFLA_BRPORT.BCAST_FLOOD),
    neighSuppress: flag(c.IFLA_BRPORT.NEIGH_SUPPRESS),
    proxyArp: flag(c.IFLA_BRPORT.PROXYARP),
    hairpin: flag(c.IFLA_BRPORT.HAIRPIN),
    isolated: flag(c.IFLA_BRPORT.ISOLATED),
  };
}

function decodeVxlan(data: Buffer): VxlanInfo {
  const attributes = parseAttributes(data);
  const local = attributes.get(c.IFLA_VXLAN.LOCAL) ?? attributes.get(c.IFLA_VXLAN.LOCAL6);
  return {
    vni: readU32(attributes, c.IFLA_VXLAN.ID) ?? 0,
    localAddress: local === undefined ? '' : formatIp(local),
    port: attributes.get(c.IFLA_VXLAN.PORT)?.readUInt16BE() ?? 0,
    learning: attributes.get(c.IFLA_VXLAN.LEARNING)?.readUInt8() === 1,
  };
}

export function decodeAddress({ payload }: Message): AddressInfo[] {
  const attributes = parseAttributes(payload, 8);
  // ADDRESS is the other end of a point-to-point link; LOCAL is always ours where there is one.
  const address = attributes.get(c.IFA.LOCAL) ?? attributes.get(c.IFA.ADDRESS);
  if (address === undefined) return [];
  const cidr = `${formatIp(address)}/${payload.readUInt8(1)}`;
  return [{ link: payload.readUInt32LE(4), cidr }];
}

/** Permanent entries only. */
export function decodeNeighbour({ payload }: Message): NeighbourInfo[] {
  const attributes = parseAttributes(payload, 12);
  const [address, mac] = [attributes.get(c.NDA.DST), attributes.get(c.NDA.LLADDR)];
  const isPermanent = (payload.readUInt16LE(8) & c.NUD_PERMANENT) !== 0;
  if (!isPermanent || address === undefined || mac === undefined) return [];
  return [{ link: payload.readInt32LE(4), address: formatIp(address), mac: formatMac(mac) }];
}

/**
 * Static and local entries of a bridge, and those of a VXLAN device with a destination. Left out are
 * learned ones and the devices' filter lists. An entry set without a VLAN is there once more for the
 * default one; a bridge that does not look at VLANs does not use that.
 */
export function decodeFdb({ payload }: Message): FdbInfo[] {
  const attributes = parseAttributes(payload, 12);
  const mac = attributes.get(c.NDA.LLADDR);
  if (mac === undefined || attributes.has(c.NDA.VLAN)) return [];
  const entry = { link: payload.readInt32LE(4), mac: formatMac(mac) };
  const state = payload.readUInt16LE(8);
  const destination = attributes.get(c.NDA.DST);
  if ((payload.readUInt8(10) & c.NTF_SELF) !== 0) {
    if (destination === undefined) return [];
    const port = attributes.get(c.NDA.PORT)?.readUInt16BE();
    const vni = readU32(attributes, c.NDA.VNI);
    const more = { ...(port === undefined ? {} : { port }), ...(vni === undefined ? {} : { vni }) };
    return [{ ...entry, where: 'self', destination: formatIp(destination), ...more }];
  }
  if (!attributes.has(c.NDA.MASTER)) return [];
  if ((state & c.NUD_PERMANENT) !== 0) return [{ ...entry, where: 'master', isLocal: true }];
  return (state & c.NUD_NOARP) !== 0 ? [{ ...entry, where: 'master' }] : [];
}

/** Unicast routes that were set or came with an address; the table of local addresses is left out. */
export function decodeRoute({ payload }: Message): RouteInfo[] {
  const attributes = parseAttributes(payload, ROUTE_HEADER_BYTES);
  const table = readU32(attributes, c.RTA.TABLE) ?? payload.readUInt8(4);
  const isUnicast = payload.readUInt8(7) === c.RTN_UNICAST;
  const isCloned = (payload.readUInt32LE(8) & c.RTM_F_CLONED) !== 0;
  if (!isUnicast || isCloned || table === c.RT_TABLE_LOCAL) return [];
  const to = attributes.get(c.RTA.DST);
  const via = attributes.get(c.RTA.GATEWAY);
  const source = attributes.get(c.RTA.PREFSRC);
  const link = readU32(attributes, c.RTA.OIF);
  return [
    {
      destination: to === undefined ? 'default' : `${formatIp(to)}/${payload.readUInt8(1)}`,
      table,
      ...(via === undefined ? {} : { via: formatIp(via) }),
      ...(source === undefined ? {} : { source: formatIp(source) }),
      ...(link === undefined ? {} : { link }),
    },
  ];
}
