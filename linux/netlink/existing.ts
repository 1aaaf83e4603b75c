import { HatobaError } from '../../common/errors.js';
import { errnoError } from '../errno.js';
import type { NetlinkOp } from '../ports.js';
import { parseIp } from './address.js';
import * as c from './constants.js';
import { decodeLink, type LinkDetails } from './decode.js';
import { encodeOp, linkHeader, linkName } from './encode.js';
import { MessageWriter, parseAttributes, u32 } from './message.js';
import type { NetlinkSocket } from './socket.js';

type LinkAdd = Extract<NetlinkOp, { op: 'link-add' }>;

/**
 * After "there is such a link": it is success if it is the one that was asked for. Its address and
 * MTU are set; what cannot be changed must agree.
 * @throws {HatobaError} already-exists, when another link has the name; conflict, when the link is
 *   an old one that is about to go with its namespace: the same call works a moment later
 */
export function reconcileExisting(
  op: LinkAdd,
  socket: NetlinkSocket,
  context: { netnsFd: (path: string) => number; describe: string; reason: string },
): void {
  const there = findLink(socket, op.name, context.describe);
  if (there === undefined) {
    const reason =
      op.kind === 'veth' ? `${op.peer.name} is taken in ${op.peer.netns}` : context.reason;
    throw new HatobaError('already-exists', `${context.describe}: ${reason}`);
  }
  const difference = differenceOf(op, there);
  if (difference !== undefined) {
    throw new HatobaError(
      'already-exists',
      `${context.describe}: a link of this name ${difference}; remove it first`,
    );
  }
  if (op.kind === 'veth') {
    const fd = context.netnsFd(op.peer.netns);
    const wanted = netnsIdOf(socket, fd, context.describe);
    if (wanted === undefined || there.peerNetnsId !== wanted) {
      throw new HatobaError(
        'conflict',
        `${context.describe}: a veth of this name leads to another namespace than ${op.peer.netns}`,
      );
    }
  }
  adjust(op, socket, context.describe);
}

function findLink(socket: NetlinkSocket, name: string, action: string): LinkDetails | undefined {
  const request = new MessageWriter(c.RTM_GETLINK, c.NLM_F_REQUEST, linkHeader());
  const message = socket.get(request.attribute(c.IFLA.IFNAME, linkName(name)), action);
  return message === undefined ? undefined : decodeLink(message);
}

function differenceOf(op: LinkAdd, there: LinkDetails): string | undefined {
  if (there.kind !== op.kind) return `is a ${there.kind === '' ? 'device' : there.kind}`;
  if (op.kind !== 'vxlan') return undefined;
  if (there.vxlan?.vni !== op.vni) return `has VNI ${there.vxlan?.vni ?? 0}`;
  if (there.vxlan.port !== op.port) return `has port ${there.vxlan.port}`;
  const isSameLocal =
    there.vxlan.localAddress !== '' &&
    parseIp(there.vxlan.localAddress).equals(parseIp(op.localAddress));
  return isSameLocal ? undefined : `has local address ${there.vxlan.localAddress}`;
}

/** The number by which the socket's namespace knows another; undefined where it has none yet. */
function netnsIdOf(socket: NetlinkSocket, fd: number, action: string): number | undefined {
  const request = new MessageWriter(c.RTM_GETNSID, c.NLM_F_REQUEST, Buffer.alloc(4));
  const message = socket.get(request.attribute(c.NETNSA.FD, u32(fd)), action);
  const id = message && parseAttributes(message.payload, 4).get(c.NETNSA.NSID)?.readInt32LE();
  return id === undefined || id < 0 ? undefined : id;
}

function adjust(op: LinkAdd, socket: NetlinkSocket, action: string): void {
  const mac = 'mac' in op ? op.mac : undefined;
  if (mac === undefined && op.mtuBytes === undefined) return;
  const change = encodeOp(
    {
      op: 'link-set',
      name: op.name,
      ...(mac === undefined ? {} : { mac }),
      ...(op.mtuBytes === undefined ? {} : { mtuBytes: op.mtuBytes }),
    },
    { linkIndex: () => 0, netnsFd: () => -1 },
  );
  const [outcome] = socket.execute([change]);
  if (outcome !== undefined && outcome.errno !== 0) {
    throw errnoError(action, outcome.errno, outcome.reason);
  }
}
