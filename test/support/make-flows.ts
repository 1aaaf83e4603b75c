/**
 * Puts flows into the connection tracking of the network namespace it is started in, as if there
 * had been traffic: a JSON array of FlowInfo on stdin, without marks. Fails if one is refused.
 */
import { text } from 'node:stream/consumers';
import * as c from '../../linux/conntrack/constants.js';
import { parseIp } from '../../linux/netlink/address.js';
import { AF_INET, NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST } from '../../linux/netlink/constants.js';
import { MessageWriter, nested, nestedType, u16be, u8 } from '../../linux/netlink/message.js';
import { NetlinkSocket } from '../../linux/netlink/socket.js';
import type { FlowInfo, FlowTuple } from '../../linux/ports.js';

const CTA_TIMEOUT = 7;
const TIMEOUT_SECONDS = 300;
const { CTA, CTA_IP, CTA_PROTO, CTA_PROTOINFO, CTA_TUPLE } = c;

function encodeTuple(tuple: FlowTuple, protocol: string): Buffer {
  const [number = 0] = [...c.IP_PROTOCOLS].find(([, name]) => name === protocol) ?? [];
  return nested([
    [
      nestedType(CTA_TUPLE.IP),
      nested([
        [CTA_IP.V4_SRC, parseIp(tuple.source)],
        [CTA_IP.V4_DST, parseIp(tuple.destination)],
      ]),
    ],
    [
      nestedType(CTA_TUPLE.PROTO),
      nested([
        [CTA_PROTO.NUM, u8(number)],
        [CTA_PROTO.SRC_PORT, u16be(tuple.sourcePort)],
        [CTA_PROTO.DST_PORT, u16be(tuple.destinationPort)],
      ]),
    ],
  ]);
}

function encodeState({ protocol, state }: FlowInfo): Buffer | undefined {
  if (state === '') return undefined;
  const [kind, names] =
    protocol === 'tcp' ? [CTA_PROTOINFO.TCP, c.TCP_STATES] : [CTA_PROTOINFO.SCTP, c.SCTP_STATES];
  const number = (names as readonly string[]).indexOf(state);
  // the kernel takes a state of SCTP only with the tags of both directions
  const tags = [2, 3].map((type) => [type, Buffer.alloc(4)] as const);
  const known = [[c.CTA_PROTOINFO_STATE, u8(number)] as const];
  return nested([[nestedType(kind), nested(protocol === 'tcp' ? known : [...known, ...tags])]]);
}

function encodeNew(flow: FlowInfo): MessageWriter {
  const header = Buffer.alloc(c.NFGENMSG_BYTES);
  header.writeUInt8(AF_INET);
  const timeout = Buffer.alloc(4);
  timeout.writeUInt32BE(TIMEOUT_SECONDS);
  return new MessageWriter(c.CT_NEW, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, header)
    .attribute(nestedType(CTA.TUPLE_ORIG), encodeTuple(flow.original, flow.protocol))
    .attribute(nestedType(CTA.TUPLE_REPLY), encodeTuple(flow.reply, flow.protocol))
    .attribute(CTA.ZONE, flow.zone === 0 ? undefined : u16be(flow.zone))
    .attribute(CTA_TIMEOUT, timeout)
    .attribute(nestedType(CTA.PROTOINFO), encodeState(flow));
}

const flows = JSON.parse(await text(process.stdin)) as FlowInfo[];
const socket = new NetlinkSocket(c.NETLINK_NETFILTER);
const outcomes = socket.execute(flows.map(encodeNew));
socket.close();
const refused = outcomes.find((o) => o.errno !== 0);
if (refused !== undefined) throw new Error(`errno ${refused.errno} ${refused.reason}`);
