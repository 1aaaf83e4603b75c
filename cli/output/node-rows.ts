import { hasLabel, type Listing } from './listing.js';
import { pairsText } from './details.js';
import type { NodeRow } from './rows.js';

/** `self`: the manager that answers runs there. */
export type ListedNode = NodeRow & { self: boolean };

export const NODES: Listing<ListedNode> = {
  key: (n) => n.id,
  columns: [
    { title: 'ID', field: 'ID', value: (n) => n.id.slice(0, 12) + (n.self ? ' *' : '') },
    { title: 'HOSTNAME', field: 'Hostname', value: (n) => n.hostname },
    { title: 'STATUS', field: 'Status', value: (n) => n.state },
    { title: 'AVAILABILITY', field: 'Availability', value: (n) => n.availability },
    { title: 'MANAGER STATUS', field: 'ManagerStatus', value: managerStatusOf },
    { title: 'ENGINE VERSION', field: 'EngineVersion', value: (n) => n.engineVersion },
    { title: 'ADDRESS', value: (n) => n.address, wide: true },
    { title: 'LABELS', value: (n) => pairsText(n.labels), wide: true },
    { title: 'TAINTS', value: (n) => n.taints.join(' '), wide: true },
    { title: 'MESSAGE', value: (n) => n.message, wide: true },
  ],
  fields: { Self: (n) => String(n.self), TLSStatus: () => 'Ready' },
  filters: {
    id: (n, value) => n.id.startsWith(value),
    name: (n, value) => n.name.startsWith(value) || n.hostname.startsWith(value),
    role: (n, value) => n.role === value,
    'node.label': (n, value) => hasLabel(n.labels, value),
    label: (n, value) => hasLabel(n.engineLabels, value),
    taint: (n, value) => n.taints.some((t) => t === value || t.split(/[=:]/)[0] === value),
  },
};

/** As docker: empty for a worker. */
function managerStatusOf({ role, leader, state }: NodeRow): string {
  if (role !== 'manager') return '';
  if (leader) return 'leader';
  return state === 'ready' ? 'reachable' : 'unreachable';
}
