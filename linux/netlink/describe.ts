import { assertNever } from '../../common/assert.js';
import type { NetlinkOp } from '../ports.js';

/** An op for people: "route-add default via 10.0.0.1 dev eth0". */
export function describeOp(op: NetlinkOp): string {
  switch (op.op) {
    case 'link-add':
      return `${op.op} ${op.kind} ${op.name}${op.kind === 'vxlan' ? ` (VNI ${op.vni})` : ''}`;
    case 'link-set': {
      const { op: verb, name, ...changes } = op;
      const words = Object.entries(changes).map(([key, value]) => `${key}=${String(value)}`);
      return [verb, name, ...words].join(' ');
    }
    case 'link-del':
    case 'bridge-port':
      return `${op.op} ${op.name}`;
    case 'address-add':
    case 'address-del':
      return `${op.op} ${op.cidr} dev ${op.link}`;
    case 'route-add':
    case 'route-del': {
      const via = op.via === undefined ? '' : ` via ${op.via}`;
      const link = op.link === undefined ? '' : ` dev ${op.link}`;
      const table = op.table === undefined ? '' : ` table ${op.table}`;
      return `${op.op} ${op.destination}${via}${link}${table}`;
    }
    case 'neigh-add':
    case 'neigh-del':
      return `${op.op} ${op.address} ${op.mac} dev ${op.link}`;
    case 'fdb-add':
    case 'fdb-del': {
      const destination = op.destination === undefined ? '' : ` dst ${op.destination}`;
      return `${op.op} ${op.mac} dev ${op.link} ${op.where}${destination}`;
    }
    case 'rule-add':
    case 'rule-del':
      return `${op.op} priority ${op.priority} table ${op.table}`;
    default:
      return assertNever(op);
  }
}
