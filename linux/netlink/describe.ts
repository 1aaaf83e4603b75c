import { assertNever } from '../../common/assert.js';
import type { NetlinkOp } from '../ports.js';

/** " via 10.0.0.1"; nothing for what is not given. */
function word(key: string, value: string | number | undefined): string {
  return value === undefined ? '' : ` ${key} ${value}`;
}

/** An op for people: "route-add default via 10.0.0.1 dev eth0". */
export function describeOp(op: NetlinkOp): string {
  switch (op.op) {
    case 'link-add':
      return `${op.op} ${op.kind} ${op.name}`;
    case 'link-set':
      return describeLinkSet(op);
    case 'link-del':
    case 'bridge-port':
      return `${op.op} ${op.name}`;
    case 'address-add':
    case 'address-del':
      return `${op.op} ${op.cidr} dev ${op.link}`;
    case 'route-add':
    case 'route-del':
      return `${op.op} ${op.destination}${word('via', op.via)}${word('dev', op.link)}${word('table', op.table)}`;
    case 'neigh-add':
    case 'neigh-del':
      return `${op.op} ${op.address} ${op.mac} dev ${op.link}`;
    case 'fdb-add':
    case 'fdb-del':
      return `${op.op} ${op.mac} dev ${op.link} ${op.where}${word('dst', op.destination)}`;
    default:
      return assertNever(op);
  }
}

function describeLinkSet(op: Extract<NetlinkOp, { op: 'link-set' }>): string {
  const { op: verb, name, ...changes } = op;
  const words = Object.entries(changes).map(([key, value]) => `${key}=${String(value)}`);
  return [verb, name, ...words].join(' ');
}
