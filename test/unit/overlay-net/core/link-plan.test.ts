import assert from 'node:assert/strict';
import fc from 'fast-check';
import { diffLinks } from '../../../../overlay-net/core/link-diff.js';
import type { NetlinkOp } from '../../../../linux/ports.js';
import type { KernelDump } from '../../../../overlay-net/core/kernel-model.js';
import {
  formatAddress,
  formatCidr,
  parseInterface,
  subnetOf,
} from '../../../../overlay-net/core/ipam.js';
import { compareLinks } from '../../../../overlay-net/core/link-drift.js';
import { observeLinks } from '../../../../overlay-net/core/link-observe.js';
import {
  dataPathAddress,
  overlayNetworks,
  planLinks,
  type LinkPlan,
  type Underlay,
} from '../../../../overlay-net/core/link-plan.js';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { anyState } from './states.js';

const underlay: Underlay = { address: '192.0.2.1', mtuBytes: 1500 };
const aNetwork = (driver: string): NetworkState['networks'][number] => ({
  networkId: 'net',
  name: 'net',
  driver,
  subnets: [{ subnet: '172.30.0.0/16', gateway: '172.30.0.1' }],
  dataPathPort: 0,
  hostAccess: false,
  vni: 5,
  mtuBytes: 0,
  internal: false,
  ingress: false,
});
const nothing: LinkPlan = { links: new Map(), entries: new Map() };

type ModelLink = Omit<KernelDump['links'][number], 'index' | 'name' | 'master'> & {
  master?: string;
};

/** A kernel that knows just enough to hold a plan: refuses what the real one would refuse. */
class ModelKernel {
  readonly links = new Map<string, ModelLink>();
  readonly entries = new Map<string, { op: NetlinkOp; link: string | undefined }>();

  apply(ops: readonly NetlinkOp[]): void {
    for (const op of ops) this.#apply(op);
  }

  #apply(op: NetlinkOp): void {
    if (op.op === 'link-add') {
      assert.ok(!this.links.has(op.name), `${op.name} exists`);
      const given = op.kind === 'bridge' ? op.mac : undefined;
      const mac = given ?? 'aa:aa:aa:aa:aa:aa';
      assert.ok(op.mtuBytes !== undefined, 'every link has an MTU of its own');
      const link: ModelLink = { kind: op.kind, mac, mtuBytes: op.mtuBytes, up: false };
      if (op.kind === 'vxlan') {
        const { vni, localAddress, port } = op;
        link.vxlan = { vni, localAddress, port, learning: false };
      }
      this.links.set(op.name, link);
    } else if (op.op === 'link-set') {
      const link = this.links.get(op.name);
      assert.ok(link, `no ${op.name}`);
      if (typeof op.master === 'string') assert.ok(this.links.has(op.master), op.master);
      Object.assign(link, Object.fromEntries(Object.entries(op).filter(([k]) => k !== 'op')));
    } else if (op.op === 'link-del') {
      assert.ok(this.links.delete(op.name), `no ${op.name}`);
      for (const [key, entry] of this.entries) {
        if (entry.link === op.name) this.entries.delete(key);
      }
    } else if (op.op === 'bridge-port') {
      const link = this.links.get(op.name);
      assert.ok(link?.master, `${op.name} is no port`);
      const { op: _, name: __, ...port } = op;
      link.port = { ...link.port, ...port } as NonNullable<ModelLink['port']>;
    } else {
      this.#applyEntry(op);
    }
  }

  #applyEntry(op: EntryOp) {
    const [what = '', verb] = op.op.split('-');
    const link = 'link' in op ? op.link : undefined;
    const key = `${what} ${placeOf(op)}`;
    if (verb === 'del') {
      assert.ok(this.entries.delete(key), `no ${key}`);
      // the route is the kernel's own, unless it was set anew
      const route = op.op === 'address-del' ? `route ${placeOf(subnetRoute(op))}` : '';
      this.entries.delete(route);
      return;
    }
    assert.ok(link === undefined || this.links.has(link), `no link for ${key}`);
    const { op: _op, ...rest } = op;
    const { op: _before, ...before } = this.entries.get(key)?.op ?? { op: undefined };
    assert.notDeepEqual(before, rest, `twice ${key}`);
    this.entries.set(key, { op, link });
    if (op.op === 'address-add' && !op.cidr.endsWith('/32')) this.#applyEntry(subnetRoute(op));
  }

  /** What somebody may do by hand; `which` picks among what there is. */
  damage(how: string, which: number): void {
    const names = [...this.links.keys()];
    const name = names[which % Math.max(1, names.length)] ?? '';
    const link = this.links.get(name);
    if (link === undefined) return;
    const { op } = [...this.entries.values()][which % Math.max(1, this.entries.size)] ?? {};
    if (how === 'remove' && op !== undefined) {
      this.apply([{ ...op, op: op.op.replace('-add', '-del') } as NetlinkOp]);
    }
    if (how === 'link') this.apply([{ op: 'link-del', name }]);
    if (how === 'foreign') {
      const mac = '02:00:00:00:00:99';
      const address = `10.0.9.${which % 250}`;
      const strange: EntryOp[] = [
        { op: 'neigh-add', link: name, address, mac },
        { op: 'route-add', link: name, destination: `${address}/32`, table: 254 },
      ];
      if (link.kind === 'vxlan') {
        strange.push({ op: 'fdb-add', link: name, mac, where: 'self', destination: address });
      }
      for (const op of strange) {
        this.entries.set(`${op.op.split('-')[0] ?? ''} ${placeOf(op)}`, { op, link: name });
      }
    }
    if (how !== 'flags') return;
    link.up = false;
    link.mtuBytes = 1234;
    if (link.port !== undefined) link.port = { ...link.port, learning: true };
    else delete link.master;
  }

  dump(): KernelDump {
    const names = [...this.links.keys()];
    const index = (name: string | undefined): number => names.indexOf(name ?? '') + 1;
    const ops = [...this.entries.values()].map((e) => e.op);
    return {
      links: [...this.links].map(([name, { master, ...link }]) => ({
        ...link,
        name,
        index: index(name),
        ...(master === undefined ? {} : { master: index(master) }),
      })),
      addresses: ops.flatMap((o) =>
        o.op === 'address-add' ? [{ link: index(o.link), cidr: o.cidr }] : [],
      ),
      neighbours: ops.flatMap((o) => (o.op === 'neigh-add' ? [{ ...o, link: index(o.link) }] : [])),
      fdb: ops.flatMap((o) => (o.op === 'fdb-add' ? [{ ...o, link: index(o.link) }] : [])),
      routes: ops.flatMap((o) =>
        o.op === 'route-add' ? [{ ...o, link: index(o.link), table: o.table ?? 254 }] : [],
      ),
    };
  }
}

type EntryOp = Exclude<NetlinkOp, { op: 'link-add' | 'link-set' | 'link-del' | 'bridge-port' }>;

/** What an entry excludes others from. */
function placeOf(op: EntryOp): string {
  if ('mac' in op && 'address' in op) return `${op.link} ${op.address}`;
  if ('mac' in op) return `${op.link} ${op.where} ${op.mac}`;
  if ('destination' in op) return `${op.table ?? 254} ${op.destination}`;
  const { op: _, ...rest } = op;
  return JSON.stringify(rest);
}

/** The route that the kernel makes along with an address. */
function subnetRoute({ link, cidr }: { link: string; cidr: string }): EntryOp {
  const { address, prefixLength } = parseInterface(cidr);
  const destination = formatCidr(subnetOf(address, prefixLength));
  return { op: 'route-add', destination, link, source: formatAddress(address), table: 254 };
}

function change(kernel: ModelKernel, from: LinkPlan, to: LinkPlan): void {
  const { first, last } = diffLinks(from, to);
  kernel.apply(first);
  kernel.apply(last);
}

const keysOf = (plan: LinkPlan): string[] =>
  [...plan.entries].map(([key, e]) => `${key}=${e.value}`).sort();

describe('links of the networks', () => {
  it('reach any state from any other, and what the kernel shows is what was planned', () => {
    fc.assert(
      fc.property(fc.array(anyState, { minLength: 1, maxLength: 4 }), (states) => {
        const kernel = new ModelKernel();
        let known = nothing;
        for (const state of states) {
          const wanted = planLinks(state, underlay);
          change(kernel, known, wanted);
          const observed = observeLinks(kernel.dump());
          assert.deepEqual(keysOf(observed), keysOf(wanted));
          assert.deepEqual(diffLinks(observed, wanted), { first: [], last: [] });
          known = wanted;
        }
        change(kernel, observeLinks(kernel.dump()), nothing);
        assert.equal(kernel.links.size + kernel.entries.size, 0);
      }),
    );
  });

  it('gives every remote endpoint both forwarding entries and a neighbour, a local one the latter', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const keys = new Set(planLinks(state, underlay).entries.keys());
        const vnis = new Map(overlayNetworks(state).map((n) => [n.networkId, n.vni.toString(16)]));
        const peers = new Set(state.peers.map((p) => p.nodeId));
        for (const e of state.endpoints) {
          const vni = vnis.get(e.networkId);
          if (vni === undefined || !peers.has(e.nodeId)) continue;
          const hex = e.address.split('.').map((b) => Number(b).toString(16).padStart(2, '0'));
          const mac = `02:42:${hex.join(':')}`;
          assert.ok(keys.has(`neigh hb${vni} ${e.address}`));
          for (const where of ['master', 'self']) {
            assert.equal(keys.has(`fdb ${where} hv${vni} ${mac}`), e.nodeId !== 'n1');
          }
        }
      }),
    );
  });

  it('makes tunnels anew when their own address changed, with all their entries', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const kernel = new ModelKernel();
        const wanted = planLinks(state, underlay);
        change(kernel, nothing, wanted);
        const moved = planLinks(state, { ...underlay, address: '192.0.2.9' });
        change(kernel, observeLinks(kernel.dump()), moved);
        assert.deepEqual(keysOf(observeLinks(kernel.dump())), keysOf(moved));
        for (const { kind, vxlan } of kernel.dump().links) {
          if (kind === 'vxlan') assert.equal(vxlan?.localAddress, '192.0.2.9');
        }
      }),
    );
  });

  it('are repaired whatever was done to them, and every difference is told', () => {
    const damage = fc.array(
      fc.tuple(fc.constantFrom('remove', 'link', 'flags', 'foreign'), fc.nat()),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(anyState, damage, (state, done) => {
        const kernel = new ModelKernel();
        const wanted = planLinks(state, underlay);
        change(kernel, nothing, wanted);
        for (const [how, which] of done) kernel.damage(how, which);
        // a bridge made anew has lost what hung on it, which the next look shows
        for (let round = 0; round < 3; round++) {
          const actual = observeLinks(kernel.dump());
          const { first, last } = diffLinks(actual, wanted);
          assert.equal(first.length + last.length > 0, compareLinks(actual, wanted).length > 0);
          kernel.apply([...first, ...last]);
        }
        assert.deepEqual(compareLinks(observeLinks(kernel.dump()), wanted), []);
      }),
    );
  });

  it('leaves what others have on the machine alone', () => {
    const other: KernelDump = {
      links: [
        { index: 1, name: 'hb0', kind: 'dummy', mac: '', mtuBytes: 1500, up: true },
        { index: 2, name: 'docker0', kind: 'bridge', mac: '', mtuBytes: 1500, up: true },
      ],
      addresses: [{ link: 2, cidr: '172.17.0.1/16' }],
      neighbours: [{ link: 2, address: '172.17.0.2', mac: '02:42:ac:11:00:02' }],
      fdb: [{ link: 2, mac: '02:42:ac:11:00:02', where: 'master' }],
      routes: [{ link: 2, destination: 'default', table: 100 }],
    };
    assert.deepEqual(observeLinks(other), nothing);
  });

  it('says when the node itself is not among the peers', () => {
    const state: NetworkState = {
      nodeId: 'n9',
      networks: [aNetwork('overlay')],
      endpoints: [],
      services: [],
      peers: [],
    };
    assert.throws(() => planLinks(state, underlay), { message: /n9 has no data path address/ });
    assert.throws(() => dataPathAddress(state), { message: /n9 has no data path address/ });
  });

  it('needs no peers for a network of this node alone', () => {
    const state: NetworkState = {
      nodeId: 'n9',
      networks: [aNetwork('bridge')],
      endpoints: [],
      services: [],
      peers: [],
    };
    assert.equal(dataPathAddress(state), '');
    const { first, last } = diffLinks(nothing, planLinks(state, underlay));
    const link = { name: 'hlac1e0000', mtuBytes: 1500, mac: '02:42:ac:1e:00:01' };
    assert.deepEqual(last, []);
    assert.deepEqual(first, [
      { op: 'link-add', kind: 'bridge', ...link },
      { op: 'link-set', ...link, up: true },
      { op: 'address-add', link: 'hlac1e0000', cidr: '172.30.0.1/16' },
    ]);
  });
});
