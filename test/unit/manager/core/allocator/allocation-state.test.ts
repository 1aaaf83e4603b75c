import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Attachment, Network, Service, Task } from '../../../../../common/model/objects.js';
import { AllocationState } from '../../../../../manager/core/allocator/allocation-state.js';
import { planWaiting } from '../../../../../manager/core/allocator/plan-allocation.js';
import { Attachment as Message, TaskState } from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aCluster,
  aNetwork,
  aService,
  aTask,
  snapshotOf,
  T0,
} from '../../../../support/builders.js';

/** Two networks of six addresses each. */
const NETWORKS = [0, 1].map((n) =>
  aNetwork({
    spec: { name: `net${n}` },
    vni: 4096 + n,
    ipam: [{ subnet: `10.9.${n}.0/29`, gateway: `10.9.${n}.1`, ipRange: '' }],
  }),
);
const PORTS = [8080, 8081];
const CURSORS = new Map(NETWORKS.map((n, i) => [n.id, `10.9.${i}.3`]));

type Thing =
  | { kind: 'network'; object: Network }
  | { kind: 'service'; object: Service }
  | { kind: 'task'; object: Task }
  | { kind: 'attachment'; object: Attachment };

const place = fc.record({ net: fc.nat(1), host: fc.integer({ min: 2, max: 6 }) });
const cidr = ({ net, host }: { net: number; host: number }): string => `10.9.${net}.${host}/29`;
const idOf = (net: number): string => NETWORKS[net]?.id ?? '';

const thing: fc.Arbitrary<Thing> = fc.oneof(
  fc.constantFrom(...NETWORKS).map((object) => ({ kind: 'network' as const, object })),
  fc
    .record({ name: fc.constantFrom('a', 'b'), at: place, ports: fc.subarray(PORTS) })
    .map(({ name, at, ports }) => ({
      kind: 'service' as const,
      object: aService({
        spec: { name },
        endpoint: {
          ports: ports.map((publishedPort) => ({ publishedPort, targetPort: 80 })),
          virtualIps: [{ networkId: idOf(at.net), addr: cidr(at) }],
        },
      }),
    })),
  fc
    .record({
      slot: fc.integer({ min: 1, max: 4 }),
      at: fc.option(place, { nil: undefined }),
      state: fc.constantFrom(TaskState.NEW, TaskState.RUNNING, TaskState.FAILED),
      atMs: fc.nat(5),
    })
    .map(({ slot, at, state, atMs }) => ({
      kind: 'task' as const,
      object: aTask({
        slot,
        networksAttachments:
          at === undefined ? [] : [{ networkId: idOf(at.net), addresses: [cidr(at)] }],
        status: { state, timestampMs: T0 + atMs },
      }),
    })),
  fc.record({ id: fc.constantFrom('x', 'y'), at: place }).map(({ id, at }) => ({
    kind: 'attachment' as const,
    object: Message.fromPartial({ id, networkId: idOf(at.net), address: cidr(at), version: 1 }),
  })),
);

function put(state: AllocationState, { kind, object }: Thing): void {
  if (kind === 'network') state.putNetwork(object);
  else if (kind === 'service') state.putService(object);
  else if (kind === 'task') state.putTask(object);
  else state.putAttachment(object);
}

function remove(state: AllocationState, { kind, object }: Thing): void {
  if (kind === 'network') state.deleteNetwork(object.id);
  else if (kind === 'service') state.deleteService(object.id);
  else if (kind === 'task') state.deleteTask(object.id);
  else state.deleteAttachment(object.id);
}

function contentOf(things: ReadonlyMap<string, Thing>) {
  const of = <T>(kind: Thing['kind']): T[] =>
    [...things.values()].filter((t) => t.kind === kind).map((t) => t.object as T);
  return {
    cluster: aCluster(),
    networks: of<Network>('network'),
    services: of<Service>('service'),
    tasks: of<Task>('task'),
    attachments: of<Attachment>('attachment'),
  };
}

/** All that can be asked of it; takes all addresses that there are. */
function answersOf(state: AllocationState): unknown {
  return {
    networks: NETWORKS.map(({ id }) => {
      const space = state.addresses.of(id);
      const usage = space?.describe();
      return [usage, Array.from({ length: 7 }, () => space?.take())];
    }),
    ports: PORTS.map((publishedPort) => {
      const service = aService({ spec: { endpointSpec: { ports: [{ publishedPort }] } } });
      const [port] = service.spec.endpointSpec.ports;
      return port && state.ports.conflict('another', port)?.serviceId;
    }),
    waiting: state
      .waiting()
      .map((t) => t.id)
      .sort(),
  };
}

describe('what the allocator keeps', () => {
  it('is the same as what it would find anew, whatever came and went', () => {
    const step = fc.record({ thing, isGone: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const there = new Map<string, Thing>();
        const kept = AllocationState.of(snapshotOf({ cluster: aCluster() }), CURSORS);
        for (const { thing: next, isGone } of steps) {
          const key = `${next.kind} ${next.object.id}`;
          there.delete(key);
          if (isGone) remove(kept, next);
          else put(kept, next);
          if (!isGone) there.set(key, next);
        }
        const anew = AllocationState.of(snapshotOf(contentOf(there)), cursorsOf(kept));
        assert.deepEqual(answersOf(kept), answersOf(anew));
      }),
    );
  });

  it('forgets what was decided and not written', () => {
    const networks = [{ target: idOf(0) }];
    const service = aService({
      spec: {
        taskTemplate: { networks },
        endpointSpec: { ports: [{ publishedPort: 8080, targetPort: 80 }] },
      },
    });
    const content = {
      cluster: aCluster(),
      networks: NETWORKS,
      services: [service],
      tasks: [1, 2].map((slot) => aTask({ slot, spec: { networks } })),
    };
    const snapshot = snapshotOf(content);
    const state = AllocationState.of(snapshot);
    const { groups } = planWaiting(snapshot, state, T0);
    assert.equal(groups.length, 3);
    assert.ok(state.isUnderWay(service));
    assert.deepEqual(planWaiting(snapshot, state, T0).groups, []);
    state.putService(service);
    for (const task of content.tasks) state.putTask(task);
    const space = state.addresses.of(idOf(0));
    assert.deepEqual(space?.usage(), { total: 6, used: 1, free: 5 });
    assert.deepEqual(
      state.waiting().map((t) => t.slot),
      [1, 2],
    );
  });

  it('keeps what a service is about to give up until that is seen', () => {
    const port = (publishedPort: number) => ({ publishedPort, targetPort: 80 });
    const stored = aService({
      spec: { endpointSpec: { ports: [port(8081)] } },
      endpoint: { ports: [port(8080)] },
    });
    const snapshot = snapshotOf({ cluster: aCluster(), services: [stored] });
    const state = AllocationState.of(snapshot);
    planWaiting(snapshot, state, T0);
    const holders = (): (string | undefined)[] => [
      ...new Set(PORTS.map((p) => state.ports.conflict('another', portOf(p))?.serviceId)),
    ];
    assert.deepEqual(holders(), [stored.id]);
    state.deleteService(stored.id);
    assert.deepEqual(holders(), [undefined]);
  });
});

function portOf(publishedPort: number) {
  const { endpoint } = aService({ endpoint: { ports: [{ publishedPort, targetPort: 80 }] } });
  const [port] = endpoint.ports;
  assert.ok(port);
  return port;
}

function cursorsOf(state: AllocationState): ReadonlyMap<string, string> {
  return new Map([...CURSORS].filter(([id]) => state.addresses.cursors().has(id)));
}
