import { parseCidr, subnetContains } from '../../overlay-net/core/ipam.js';
import type { FlowFilter, FlowInfo } from '../../linux/ports.js';

const OPEN = {
  tcp: ['syn_recv', 'established', 'fin_wait', 'close_wait', 'last_ack'],
  sctp: ['cookie_echoed', 'established', 'shutdown_sent', 'shutdown_recd', 'shutdown_ack_sent'],
};

/** A flow of TCP from a client to who was really reached; changed as told. */
export function flow(changes: Partial<FlowInfo> & { client?: string; reached?: string }): FlowInfo {
  const { client = '192.0.2.50', reached = '10.0.1.5', ...rest } = changes;
  return {
    protocol: 'tcp',
    state: (changes.protocol ?? 'tcp') === 'udp' ? '' : 'established',
    original: { source: client, destination: '10.0.1.2', sourcePort: 40001, destinationPort: 80 },
    reply: { source: reached, destination: client, sourcePort: 8080, destinationPort: 40001 },
    mark: 0,
    zone: 0,
    ...rest,
  };
}

/** Whether a filter means the flow: as the real port reads it from the kernel's messages. */
export function isMeant(candidate: FlowInfo, filter: FlowFilter): boolean {
  const { reached, protocols, isOpen, isTranslated } = filter;
  const { protocol, state, original, reply } = candidate;
  const isReached =
    'within' in reached
      ? reached.within.some((cidr) => subnetContains(parseCidr(cidr), reply.source)) &&
        !reached.except.includes(reply.source)
      : reached.includes(reply.source);
  if (!isReached || (protocols !== undefined && !protocols.some((p) => p === protocol)))
    return false;
  if (isTranslated === true && original.destination === reply.source) return false;
  if (isOpen !== true) return true;
  const states = protocol === 'tcp' || protocol === 'sctp' ? OPEN[protocol] : [];
  return original.source !== reply.source && states.includes(state);
}
