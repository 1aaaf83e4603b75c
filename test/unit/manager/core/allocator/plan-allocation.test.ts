import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Network, Service, Task } from '../../../../../common/model/objects.js';
import {
  planAllocation,
  type AddressCursors,
} from '../../../../../manager/core/allocator/plan-allocation.js';
import {
  Attachment,
  EndpointMode,
  TaskState,
  type PortConfig,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aCluster,
  aNetwork,
  aNode,
  aService,
  aTask,
  snapshotOf,
  T0,
  type SnapshotContent,
  type Some,
} from '../../../../support/builders.js';

function allocate(content: SnapshotContent, cursors?: AddressCursors): SnapshotContent {
  const snapshot = snapshotOf({ cluster: aCluster(), ...content });
  const { plan } = planAllocation(snapshot, T0, cursors);
  const changed = new Map(plan.groups.flat().map((c) => [c.object.id, c.object]));
  const apply = <T extends { id: string }>(list: readonly T[] = []): T[] =>
    list.map((o) => (changed.get(o.id) as T | undefined) ?? o);
  return {
    networks: apply<Network>(content.networks),
    services: apply<Service>(content.services),
    tasks: apply<Task>(content.tasks),
  };
}

const backend = aNetwork({
  vni: 4096,
  ipam: [{ subnet: '10.9.0.0/29', gateway: '10.9.0.1', ipRange: '' }],
});
const ingress = aNetwork({
  spec: { name: 'ingress', ingress: true },
  vni: 4097,
  ipam: [{ subnet: '10.8.0.0/24', gateway: '10.8.0.1', ipRange: '' }],
});

function onBackend(some: Parameters<typeof aService>[0] = {}): Service {
  const networks = [{ target: backend.id }];
  return aService({ ...some, spec: { ...some.spec, taskTemplate: { networks } } });
}

function tasksOnBackend(count: number): Task[] {
  const networks = [{ target: backend.id }];
  return Array.from({ length: count }, (_, i) => aTask({ slot: i + 1, spec: { networks } }));
}

function published(...ports: Some<PortConfig>[]): Some<Service['spec']> {
  return { endpointSpec: { ports } };
}

function addressesOf(tasks: readonly Task[] = []): string[] {
  return tasks.flatMap((t) => t.networksAttachments.flatMap((a) => a.addresses));
}

describe('allocator', () => {
  const poolCases: [string[], string, string][] = [
    [['10.128.0.0/9'], '10.128.0.0/16', '10.129.0.0/24'],
    [['10.1.0.0/16'], '10.1.0.0/18', '10.1.64.0/24'],
    [['10.1.0.0/24', '10.2.0.0/20'], '10.2.0.0/22', '10.1.0.0/24'],
    [['10.1.0.0/23'], '10.1.0.0/24', '10.1.1.0/24'],
  ];
  for (const [defaultAddressPools, ofIngress, ofOther] of poolCases) {
    it(`gives the ingress network room for every published task, from ${defaultAddressPools.join()}`, () => {
      const { networks } = allocate({
        cluster: aCluster({ spec: { defaultAddressPools } }),
        networks: [
          aNetwork({ spec: { name: 'ingress', ingress: true } }),
          aNetwork({ spec: { name: 'a' }, createdAtMs: T0 + 1 }),
        ],
      });
      assert.deepEqual(
        networks?.map((n) => n.ipam[0]?.subnet),
        [ofIngress, ofOther],
      );
    });
  }

  it('cuts subnets from the pools, beside those asked for', () => {
    const { networks } = allocate({
      networks: [
        aNetwork({ spec: { name: 'a' } }),
        aNetwork({ spec: { name: 'b', ipam: [{ subnet: '10.128.1.0/24' }] } }),
        aNetwork({ spec: { name: 'c' }, createdAtMs: T0 + 1 }),
      ],
    });
    assert.deepEqual(
      networks?.map((n) => [n.spec.name, n.ipam[0]?.subnet, n.ipam[0]?.gateway, n.vni]),
      [
        ['a', '10.128.0.0/24', '10.128.0.1', 4096],
        ['b', '10.128.1.0/24', '10.128.1.1', 4097],
        ['c', '10.128.2.0/24', '10.128.2.1', 4098],
      ],
    );
  });

  it('gives to a part of very many tasks, and asks to go on at once', () => {
    const tasks = Array.from({ length: 5001 }, (_, i) => aTask({ slot: i + 1 }));
    const snapshot = snapshotOf({ cluster: aCluster(), services: [aService()], tasks });
    const { plan } = planAllocation(snapshot, T0);
    const given = plan.groups.flat().filter((c) => c.kind === 'task');
    assert.deepEqual([given.length, plan.requeueAfterMs], [5000, 0]);
  });

  it('says on the tasks that a network has no subnet', () => {
    const cluster = aCluster({ spec: { defaultAddressPools: ['10.200.0.0/24'] } });
    const first = aNetwork({
      ipam: [{ subnet: '10.200.0.0/24', gateway: '10.200.0.1' }],
      vni: 4096,
    });
    const second = aNetwork({ spec: { name: 'second' } });
    const networks = [{ target: second.id }];
    const { tasks } = allocate({
      cluster,
      networks: [first, second],
      services: [aService({ spec: { taskTemplate: { networks } } })],
      tasks: [aTask({ spec: { networks } })],
    });
    assert.equal(
      tasks?.[0]?.status.message,
      'network second has no subnet: no /24 is left in the address pools 10.200.0.0/24 (room for 1: 1 used by networks, 0 free): remove networks that are not needed, or name a subnet elsewhere',
    );
  });

  it('gives services an address per network and tasks theirs, and is then done', () => {
    const service = onBackend({ spec: published({ targetPort: 80, publishedPort: 8080 }) });
    const before = { networks: [backend, ingress], services: [service], tasks: tasksOnBackend(2) };
    const after = allocate(before);
    assert.deepEqual(after.services?.[0]?.endpoint.virtualIps, [
      { networkId: 'net-backend', addr: '10.9.0.2/29' },
      { networkId: 'net-ingress', addr: '10.8.0.2/24' },
    ]);
    assert.deepEqual(addressesOf(after.tasks), [
      '10.9.0.3/29',
      '10.8.0.3/24',
      '10.9.0.4/29',
      '10.8.0.4/24',
    ]);
    assert.ok(after.tasks?.every((t) => t.status.state === TaskState.PENDING));
    assert.deepEqual(allocate(after), after);
  });

  it('gives a dnsrr service no address of its own', () => {
    const service = onBackend({ spec: { endpointSpec: { mode: EndpointMode.DNSRR } } });
    const { services } = allocate({ networks: [backend], services: [service] });
    assert.deepEqual(services?.[0]?.endpoint.virtualIps, []);
  });

  it('says on the task, with numbers, that no address is left', () => {
    const { tasks } = allocate({
      networks: [backend],
      services: [onBackend()],
      tasks: tasksOnBackend(5),
    });
    assert.equal(addressesOf(tasks).length, 4);
    assert.equal(
      tasks?.[4]?.status.message,
      'no address is left on network backend (10.9.0.0/29: 6 addresses, 6 used, 0 free)',
    );
    assert.equal(tasks[4].status.state, TaskState.NEW);
  });

  it('gives from the first subnet that has some left, within its range, and never a gateway', () => {
    const network = aNetwork({
      vni: 4096,
      ipam: [
        { subnet: '10.9.0.0/24', gateway: '10.9.0.17', ipRange: '10.9.0.16/30' },
        { subnet: '10.9.4.0/29', gateway: '10.9.4.1' },
      ],
    });
    const services = [onBackend()];
    const { tasks, services: given } = allocate({
      ...{ networks: [network], services, tasks: tasksOnBackend(8) },
    });
    assert.equal(given?.[0]?.endpoint.virtualIps[0]?.addr, '10.9.0.18/24');
    assert.deepEqual(addressesOf(tasks), [
      ...['10.9.0.19/24', '10.9.0.16/24'],
      ...[2, 3, 4, 5, 6].map((i) => `10.9.4.${i}/29`),
    ]);
    assert.equal(
      tasks?.[7]?.status.message,
      'no address is left on network backend (10.9.0.16/30 of 10.9.0.0/24, 10.9.4.0/29: 10 addresses, 10 used, 0 free)',
    );
  });

  it('gives tasks on the host’s own network no addresses, and their service none', () => {
    const host = aNetwork({ id: 'host', spec: { name: 'host', driver: 'host' } });
    const networks = [{ target: 'host' }];
    const { services, tasks } = allocate({
      networks: [host, ingress],
      services: [aService({ spec: { taskTemplate: { networks } } })],
      tasks: [aTask({ spec: { networks } })],
    });
    assert.deepEqual(services?.[0]?.endpoint.virtualIps, []);
    assert.deepEqual(tasks?.[0]?.networksAttachments, [
      { networkId: 'host', networkName: 'host', addresses: [], aliases: [] },
    ]);
    assert.equal(tasks[0].status.state, TaskState.PENDING);
  });

  it('gives single containers addresses beside tasks, the one asked for if it is free', () => {
    const attach = (id: string, wantedAddress = ''): Attachment =>
      Attachment.fromPartial({
        ...{ id, version: 1, nodeId: 'n1', containerId: id, containerName: id },
        ...{ networkId: backend.id, wantedAddress },
      });
    const wanted = [
      attach('a'),
      attach('b', '10.9.0.6'),
      attach('c', '10.9.0.6'),
      attach('d', '10.9.0.1'),
      attach('e', '10.9.0.7'),
      attach('f', '10.8.0.3'),
    ];
    const snapshot = snapshotOf({
      ...{ networks: [backend], attachments: wanted, nodes: [aNode({ id: 'n1' })] },
      ...{ services: [onBackend()], tasks: tasksOnBackend(1) },
    });
    const { plan } = planAllocation(snapshot, T0);
    const given = plan.groups.flatMap(([change]) =>
      change?.kind === 'attachment' ? [change.object] : [],
    );
    assert.deepEqual(
      given.map((a) => `${a.id} ${a.address}${a.problem}`),
      [
        'a 10.9.0.3/29',
        'b 10.9.0.6/29',
        'c address 10.9.0.6 of network backend is taken by another that came at the same time',
        'd address 10.9.0.1 of network backend is taken by the gateway of the network',
        'e network backend cannot give the address 10.9.0.7: its subnets are 10.9.0.0/29',
        'f network backend cannot give the address 10.8.0.3: its subnets are 10.9.0.0/29',
      ],
    );
  });

  it('lets released addresses rest', () => {
    const services = allocate({ networks: [backend], services: [onBackend()] }).services ?? [];
    const cursors = new Map([[backend.id, '10.9.0.4']]);
    const { tasks } = allocate(
      { networks: [backend], services, tasks: tasksOnBackend(3) },
      cursors,
    );
    assert.deepEqual(addressesOf(tasks), ['10.9.0.5/29', '10.9.0.6/29', '10.9.0.3/29']);
  });

  it('takes addresses of dead tasks only when no other is left, the oldest first', () => {
    const services = allocate({ networks: [backend], services: [onBackend()] }).services ?? [];
    const dead = (slot: number, address: string, endedAtMs: number, state: TaskState): Task =>
      aTask({
        slot,
        networksAttachments: [{ networkId: backend.id, addresses: [`${address}/29`] }],
        status: { state, timestampMs: endedAtMs },
      });
    const history = [
      dead(11, '10.9.0.3', T0 - 10, TaskState.FAILED),
      dead(12, '10.9.0.4', T0 - 20, TaskState.FAILED),
      dead(13, '10.9.0.5', T0 - 30, TaskState.ORPHANED), // its container may be running yet
    ];
    const fresh = tasksOnBackend(4);
    const { tasks = [] } = allocate({
      networks: [backend],
      services,
      tasks: [...fresh, ...history],
    });
    assert.deepEqual(addressesOf(tasks.slice(0, 4)), ['10.9.0.6/29', '10.9.0.4/29', '10.9.0.3/29']);
  });

  it('chooses published ports and names the holder of one that is taken', () => {
    const first = aService({
      spec: {
        name: 'first',
        ...published({ targetPort: 80 }, { targetPort: 90, publishedPort: 8080 }),
      },
    });
    const second = aService({
      createdAtMs: T0 + 1,
      spec: { name: 'second', ...published({ targetPort: 80, publishedPort: 8080 }) },
    });
    const task = aTask({ serviceId: second.id });
    const { services, tasks } = allocate({
      networks: [ingress],
      services: [second, first],
      tasks: [task],
    });
    assert.deepEqual(
      services?.[1]?.endpoint.ports.map((p) => p.publishedPort),
      [30_000, 8080],
    );
    assert.equal(tasks?.[0]?.status.message, 'port 8080/tcp is already published by service first');
  });

  it('chooses no published port that a program of a node has', () => {
    const nodes = [aNode({ description: { usedPorts: [{ port: 30_000 }, { port: 30_001 }] } })];
    const services = [aService({ spec: published({ targetPort: 80 }) })];
    const after = allocate({ networks: [ingress], services, nodes });
    assert.equal(after.services?.[0]?.endpoint.ports[0]?.publishedPort, 30_002);
  });

  it('never gives one address twice, whatever comes and goes', () => {
    const step = fc.record({ add: fc.integer({ min: 0, max: 4 }), remove: fc.nat({ max: 5 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        let content: SnapshotContent = allocate({ networks: [backend], services: [onBackend()] });
        let slot = 0;
        for (const { add, remove } of steps) {
          const kept = (content.tasks ?? []).slice(remove);
          const added = tasksOnBackend(add).map((t) => ({ ...t, slot: ++slot, id: `t${slot}` }));
          content = allocate({ ...content, tasks: [...kept, ...added] });
          const used = [
            '10.9.0.1/29',
            ...(content.services?.[0]?.endpoint.virtualIps.map((v) => v.addr) ?? []),
            ...addressesOf(content.tasks),
          ];
          assert.equal(new Set(used).size, used.length);
          const waiting = content.tasks?.filter((t) => t.status.state === TaskState.NEW) ?? [];
          assert.ok(
            waiting.length === 0 || used.length === 6,
            'a task waits beside a free address',
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});
