import type {
  AddressInfo,
  FdbInfo,
  LinkInfo,
  NeighbourInfo,
  NetlinkOp,
  RouteInfo,
} from '../../linux/ports.js';

/**
 * What plans ask of the kernel and are told by it: types of the kernel seam alone, as a plan is
 * data.
 */

/** Something on links: added and deleted as a whole. */
export type EntryOp = Extract<NetlinkOp, { op: `${EntryName}-add` | `${EntryName}-del` }>;
type EntryName = 'address' | 'route' | 'neigh' | 'fdb';

export type LinkOp = Exclude<NetlinkOp, EntryOp>;

/** All that the kernel has, of whatever owner; links are named by index. */
export interface KernelDump {
  links: readonly LinkInfo[];
  addresses: readonly AddressInfo[];
  neighbours: readonly NeighbourInfo[];
  fdb: readonly FdbInfo[];
  routes: readonly RouteInfo[];
}
