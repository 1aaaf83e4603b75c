/**
 * What plans ask of the kernel and are told by it: the part of linux/ports.ts that they need, which
 * the ports accept as it is. Pure cores do not know the seam itself.
 */
export type LinkOp =
  | { op: 'link-add'; kind: 'bridge'; name: string; mac?: string; mtuBytes: number }
  | {
      op: 'link-add';
      kind: 'vxlan';
      name: string;
      vni: number;
      localAddress: string;
      port: number;
      mtuBytes: number;
    }
  | {
      op: 'link-add';
      kind: 'veth';
      name: string;
      mtuBytes: number;
      peer: { name: string; netns: string; mac: string };
    }
  | {
      op: 'link-set';
      name: string;
      up?: boolean;
      master?: string;
      mtuBytes?: number;
      mac?: string;
    }
  | { op: 'link-del'; name: string }
  | {
      op: 'bridge-port';
      name: string;
      learning?: boolean;
      flood?: boolean;
      mcastFlood?: boolean;
      bcastFlood?: boolean;
      neighSuppress?: boolean;
      hairpin?: boolean;
    };

/** Something on links: added and deleted as a whole. */
export type EntryOp =
  | { op: 'address-add' | 'address-del'; link: string; cidr: string }
  | {
      op: 'route-add' | 'route-del';
      destination: string;
      via: string;
      link: string;
      onlink?: boolean;
      table?: number;
    }
  | { op: 'neigh-add' | 'neigh-del'; link: string; address: string; mac: string }
  | {
      op: 'fdb-add' | 'fdb-del';
      link: string;
      mac: string;
      where: 'master' | 'self';
      destination?: string;
    }
  | {
      op: 'rule-add' | 'rule-del';
      priority: number;
      table: number;
      iif: string;
      fwmark: { mark: number; mask: number };
    };

export type KernelOp = LinkOp | EntryOp;

/** All that the kernel has, of whatever owner; links are named by index. */
export interface KernelDump {
  links: readonly {
    index: number;
    name: string;
    kind: string;
    mac: string;
    mtuBytes: number;
    up: boolean;
    master?: number;
  }[];
  addresses: readonly { link: number; cidr: string }[];
  neighbours: readonly { link: number; address: string; mac: string }[];
  fdb: readonly FdbEntry[];
  routes: readonly { destination: string; via?: string; link?: number; table: number }[];
  rules: readonly { priority: number; table: number; iif?: string }[];
}

export interface FdbEntry {
  link: number;
  mac: string;
  where: 'master' | 'self';
  destination?: string;
}
