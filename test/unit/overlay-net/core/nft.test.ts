import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { BUCKETS } from '../../../../overlay-net/core/affinity.js';
import type { NftPlan } from '../../../../overlay-net/core/nft-model.js';
import { planNft, type HostPort } from '../../../../overlay-net/core/nft-plan.js';
import { changeScript, fullScript } from '../../../../overlay-net/core/nft-script.js';
import { assignSlots } from '../../../../overlay-net/core/slots.js';
import { anyState } from './states.js';

const anyNames = fc.uniqueArray(fc.integer({ min: 1, max: 8 }).map(String), { maxLength: 8 });

/** Follows add and delete of elements as nft does: deleting what is not there is an error. */
function runElements(script: string, table: Map<string, Map<string, string>>): void {
  for (const line of script.split('\n')) {
    const match = /^(add|delete) element (?:ip|bridge) hatoba (\w+) \{ (.*) \}$/.exec(line);
    if (match === null) continue;
    const [, verb, name = '', list = ''] = match;
    const set = table.get(name) ?? new Map<string, string>();
    table.set(name, set);
    for (const element of list.split(', ')) {
      const [key = '', data = ''] = element.split(' : ');
      assert.equal(set.has(key), verb === 'delete', line);
      if (verb === 'delete') set.delete(key);
      else set.set(key, data);
    }
  }
}

/** The plan of a state without sandboxes. */
function planOf(state: NetworkState, hostPorts: readonly HostPort[] = []): NftPlan {
  return planNft({ state, hostPorts, ports: [] }, new Map());
}

const portKey = ({ hostIp, publishedPort }: { hostIp: string; publishedPort: number }): string =>
  `${hostIp === '' ? '' : `${hostIp} . `}tcp . ${publishedPort}`;

/** Where a virtual address leads to, by its network's bridge. */
function chainOf(elements: NftPlan['elements'], address: string): string | undefined {
  const chains = [...(elements.get('vip_chains') ?? [])];
  return chains.find(([key]) => key.endsWith(` . ${address}`))?.[1];
}

const contentOf = (plan: NftPlan): string[] =>
  [...plan.elements].flatMap(([set, of]) => [...of].map((e) => [set, ...e].join(' '))).sort();

describe('places of backends', () => {
  it('hold exactly the wanted ones, and move no more than came and went', () => {
    fc.assert(
      fc.property(anyNames, anyNames, (previous, wanted) => {
        const slots = assignSlots(previous, wanted);
        assert.deepEqual([...slots].sort(), [...wanted].sort());
        const gone = previous.filter((p) => !wanted.includes(p)).length;
        const moved = slots.filter((s, i) => previous.includes(s) && previous[i] !== s).length;
        assert.ok(moved <= gone, `${moved} moved, ${gone} gone`);
      }),
    );
  });
});

describe('nftables elements', () => {
  const hostPort: HostPort = {
    protocol: 'tcp',
    hostIp: '127.0.0.1',
    publishedPort: 99,
    targetPort: 80,
    address: '10.0.1.100',
  };
  const port = {
    hostLink: 'hs0123456789ab',
    networkId: 'net1',
    address: '10.0.1.100',
    mac: '02:42:0a:00:01:64',
  };

  it('reach any state from any other by increments', () => {
    fc.assert(
      fc.property(fc.array(anyState, { minLength: 1, maxLength: 4 }), (states) => {
        const table = new Map<string, Map<string, string>>();
        let applied: { plan: NftPlan; chains: Set<string> } | undefined;
        for (const state of states) {
          const input = { state, hostPorts: [hostPort], ports: [port] };
          const plan = planNft(input, applied?.plan.slots ?? new Map());
          const script = applied ? changeScript(applied, plan) : fullScript(plan, '192.0.2.1');
          runElements(script, table);
          const held = [...table].flatMap(([set, of]) => [...of].map((e) => [set, ...e].join(' ')));
          assert.deepEqual(held.sort(), contentOf(plan));
          applied = { plan, chains: new Set([...(applied?.chains ?? []), ...plan.chains]) };
          assert.equal(changeScript(applied, planNft(input, plan.slots)), '');
        }
      }),
    );
  });

  it('direct a virtual address to its ready tasks only, by a chain for their number', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const { elements } = planOf(state);
        for (const service of state.services) {
          const isHere = state.networks.some((n) => n.networkId === service.networkId);
          if (service.virtualIp === '' || !isHere) continue;
          const ready = state.endpoints.filter(
            (e) =>
              e.ready && e.serviceId === service.serviceId && e.networkId === service.networkId,
          );
          const backends = [...(elements.get('vip_backends') ?? [])]
            .filter(([key]) => key.startsWith(`${service.virtualIp} . `))
            .map(([, address]) => address);
          const chain = chainOf(elements, service.virtualIp);
          const addresses = ready.map((e) => e.address).sort();
          const count = addresses.length;
          if (service.sessionAffinity === 'SESSION_AFFINITY_CLIENT_IP') {
            assert.deepEqual([...new Set(backends)].sort(), addresses);
            assert.equal(chain, count === 0 ? undefined : `goto cn${BUCKETS}`);
          } else {
            assert.deepEqual(backends.sort(), addresses);
            assert.equal(chain, count === 0 ? undefined : `goto n${count}`);
          }
          assert.ok(elements.get('vips')?.has(service.virtualIp));
        }
      }),
    );
  });

  it('publish ports of the ingress network alone', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const { elements } = planOf(state);
        const ports = [
          ...(elements.get('published_ports')?.keys() ?? []),
          ...(elements.get('published_ip_ports')?.keys() ?? []),
        ];
        const ingress = state.networks.find((n) => n.ingress)?.networkId;
        const wanted = state.services
          .filter((s) => s.networkId === ingress)
          .flatMap((s) => s.ports);
        assert.deepEqual(ports.sort(), wanted.map(portKey).sort());
      }),
    );
  });

  it('bind host-mode ports to the address given, or to all', () => {
    const state = { nodeId: 'n1', networks: [], endpoints: [], services: [], peers: [] };
    const anywhere: HostPort = { ...hostPort, hostIp: '', protocol: 'udp' };
    const { elements } = planOf(state, [hostPort, anywhere]);
    assert.deepEqual(
      [...(elements.get('host_ip_ports') ?? [])],
      [['127.0.0.1 . tcp . 99', '10.0.1.100 . 80']],
    );
    assert.deepEqual([...(elements.get('host_ports') ?? [])], [['udp . 99', '10.0.1.100 . 80']]);
  });

  it('let each link of a sandbox send by its own addresses alone', () => {
    const state = { nodeId: 'n1', networks: [], endpoints: [], services: [], peers: [] };
    const { elements } = planNft({ state, hostPorts: [], ports: [port] }, new Map());
    const senders = [...(elements.get('senders')?.keys() ?? [])];
    assert.deepEqual(senders, ['"hs0123456789ab" . 02:42:0a:00:01:64 . 10.0.1.100']);
  });
});
