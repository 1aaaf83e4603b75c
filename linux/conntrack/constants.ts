/** Numbers of the kernel's interface, by their names in <linux/netfilter/nfnetlink_conntrack.h>. */
export const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_CTNETLINK = 1;
export const CT_NEW = (NFNL_SUBSYS_CTNETLINK << 8) | 0;
export const CT_GET = (NFNL_SUBSYS_CTNETLINK << 8) | 1;
export const CT_DELETE = (NFNL_SUBSYS_CTNETLINK << 8) | 2;
/** struct nfgenmsg: family, version, resource id. */
export const NFGENMSG_BYTES = 4;

export const CTA = {
  TUPLE_ORIG: 1,
  TUPLE_REPLY: 2,
  PROTOINFO: 4,
  MARK: 8,
  ID: 12,
  ZONE: 18,
  FILTER: 25,
} as const;
export const CTA_TUPLE = { IP: 1, PROTO: 2 } as const;
export const CTA_IP = { V4_SRC: 1, V4_DST: 2 } as const;
export const CTA_PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
export const CTA_PROTOINFO = { TCP: 1, SCTP: 3 } as const;
export const CTA_PROTOINFO_STATE = 1;
export const CTA_FILTER = { ORIG_FLAGS: 1, REPLY_FLAGS: 2 } as const;
/** Which parts of a tuple a dump is filtered by; since Linux 5.8. */
export const CTA_FILTER_FLAG = { IP_SRC: 1 << 0, PROTO_NUM: 1 << 3 } as const;

export const IP_PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
]);
/** enum tcp_conntrack, enum sctp_conntrack; the index is the number. */
export const TCP_STATES = [
  'none',
  'syn_sent',
  'syn_recv',
  'established',
  'fin_wait',
  'close_wait',
  'last_ack',
  'time_wait',
  'close',
  'syn_sent2',
] as const;
export const SCTP_STATES = [
  'none',
  'closed',
  'cookie_wait',
  'cookie_echoed',
  'established',
  'shutdown_sent',
  'shutdown_recd',
  'shutdown_ack_sent',
  'heartbeat_sent',
] as const;
