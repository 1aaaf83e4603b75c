import assert from 'node:assert/strict';
import fc from 'fast-check';
import { newId } from '../../../../common/model/ids.js';
import type { Attachment } from '../../../../common/model/objects.js';
import {
  planCreateNetwork,
  planRemoveNetwork,
} from '../../../../manager/core/network/plan-network.js';
import {
  planCreateService,
  planRemoveService,
  planScaleService,
} from '../../../../manager/core/service/plan-service-update.js';
import type { Plan } from '../../../../manager/core/snapshot.js';
import { networkWithDefaults } from '../../../../manager/core/validate/network-spec.js';
import { parseCidr, subnetOverlaps } from '../../../../overlay-net/core/ipam.js';
import {
  Attachment as AttachmentMessage,
  NetworkSpec,
} from '../../../../proto/gen/hatoba/v1/types.js';
import { aService } from '../../../support/builders.js';
import { ModelCluster } from '../../../support/model-cluster.js';
import { checkInvariants } from './cluster-invariants.js';

/** Networks of 6 addresses, so that they are full soon. */
const NETWORKS = ['a', 'b', 'c'].map((name, i) => ({
  name,
  ipam: [{ subnet: `10.9.${i}.0/29` }, { subnet: `10.9.${i}.64/29`, gateway: `10.9.${i}.68` }],
}));

type Step =
  | { do: 'network'; which: number; cut: boolean }
  | { do: 'service'; which: number; replicas: number; on: number[] }
  | { do: 'scale'; which: number; replicas: number }
  | { do: 'attach'; which: number; on: number; wanted: number }
  | { do: 'detach' | 'remove network' | 'remove service' | 'kill' | 'start'; which: number }
  | { do: 'wait'; which: number };

const which = fc.nat({ max: 2 });
const replicas = fc.integer({ min: 0, max: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('network' as const), which, cut: fc.boolean() }),
  fc.record({
    do: fc.constant('service' as const),
    ...{ which, replicas },
    on: fc.uniqueArray(which, { maxLength: 3 }),
  }),
  fc.record({ do: fc.constant('scale' as const), which, replicas }),
  fc.record({ do: fc.constant('attach' as const), which, on: which, wanted: fc.nat({ max: 8 }) }),
  fc.record({
    do: fc.constantFrom(
      ...(['detach', 'remove network', 'remove service', 'kill', 'start'] as const),
    ),
    which,
  }),
  fc.record({ do: fc.constant('wait' as const), which }),
);

/** A cluster to which random things are done; what is refused changes nothing. */
class Playground {
  readonly cluster = new ModelCluster({ seed: 1, nodes: 3 });
  #containers = 0;

  constructor() {
    this.cluster.onWrite = () => {
      checkInvariants(this.cluster);
      this.#checkSubnets();
    };
  }

  /** Three networks, and on them services and containers. */
  fill(): void {
    for (const number of [0, 1, 2]) {
      this.take({ do: 'network', which: number, cut: number === 2 });
      this.take({ do: 'service', which: number, replicas: 3, on: [number, (number + 1) % 3] });
      this.take({ do: 'attach', which: number, on: number, wanted: number });
    }
  }

  take(action: Step): void {
    this.#do(action);
    this.cluster.step();
  }

  #do(action: Step): void {
    switch (action.do) {
      case 'network':
        return this.#createNetwork(action);
      case 'service':
        return this.#create(action);
      case 'scale':
        return this.#scale(action);
      case 'attach':
        return this.#attach(NETWORKS[action.on]?.name ?? '', action.wanted);
      case 'detach':
        return this.#detach(action.which);
      case 'remove service':
        return this.#removeService(action.which);
      case 'remove network':
        return this.#removeNetwork(action.which);
      case 'kill':
        return this.cluster.kill(`n${action.which + 1}`);
      case 'start':
        return this.cluster.start(`n${action.which + 1}`);
      case 'wait':
        return this.cluster.run(5000);
    }
  }

  #createNetwork({ which: number, cut }: Extract<Step, { do: 'network' }>): void {
    const { view, context } = this.cluster;
    const asked = cut ? { name: NETWORKS[number]?.name ?? '' } : NETWORKS[number];
    const spec = networkWithDefaults(NetworkSpec.fromPartial({ ...asked, attachable: true }));
    this.#apply(planCreateNetwork(view, spec, context).plan);
  }

  #scale({ which: number, replicas: count }: Extract<Step, { do: 'scale' }>): void {
    const { view, context } = this.cluster;
    const service = view.findByName('service', `s${number}`);
    if (service === undefined || service.pendingDelete) return;
    const request = { serviceId: service.id, version: 0, replicas: count };
    this.#apply(planScaleService(view, request, context).plan);
  }

  #removeService(number: number): void {
    const { view } = this.cluster;
    const service = view.findByName('service', `s${number}`);
    if (service !== undefined) this.#apply(planRemoveService(view, service.id).plan);
  }

  /** One in use stays; any other error is a mistake. */
  #removeNetwork(number: number): void {
    const { view } = this.cluster;
    const network = view.findByName('network', NETWORKS[number]?.name ?? '');
    if (network === undefined) return;
    try {
      this.#apply(planRemoveNetwork(view, network.id));
    } catch (error) {
      assert.match(String(error), /is in use by/);
    }
  }

  #create({ which: number, on, replicas: count }: Extract<Step, { do: 'service' }>): void {
    const { view, context } = this.cluster;
    const networks = on.map((n) => ({ target: NETWORKS[n]?.name ?? '' }));
    const { spec } = aService({
      spec: {
        name: `s${number}`,
        mode: { $case: 'replicated', value: { replicas: count } },
        taskTemplate: { networks, restartPolicy: { delayMs: 500 } },
      },
    });
    this.#apply(planCreateService(view, spec, context).plan);
  }

  #attach(name: string, wanted: number): void {
    const network = this.cluster.view.findByName('network', name);
    if (network === undefined) return;
    const [first] = network.ipam;
    const start = first?.subnet.split('.').slice(0, 3).join('.') ?? '';
    const containerId = `c${++this.#containers}`;
    const object: Attachment = AttachmentMessage.fromPartial({
      ...{ id: newId(this.cluster.random), nodeId: 'n1', containerId, networkId: network.id },
      wantedAddress: wanted === 0 ? '' : `${start}.${wanted}`,
    });
    this.#apply({ groups: [[{ action: 'create', kind: 'attachment', object }]] });
  }

  #detach(index: number): void {
    const object = [...this.cluster.view.attachments()][index];
    if (object === undefined) return;
    this.#apply({ groups: [[{ action: 'remove', kind: 'attachment', object }]] });
  }

  #apply(plan: Plan): void {
    this.cluster.apply(plan);
  }

  #checkSubnets(): void {
    const all = [...this.cluster.view.networks()].flatMap((n) => n.ipam.map((i) => i.subnet));
    const cidrs = all.map(parseCidr);
    cidrs.forEach((a, i) => {
      assert.ok(!cidrs.slice(i + 1).some((b) => subnetOverlaps(a, b)), all.join(' '));
    });
    const vnis = [...this.cluster.view.networks()].map((n) => n.vni).filter((vni) => vni !== 0);
    assert.equal(new Set(vnis).size, vnis.length);
  }

  /** Everything removed; then nothing may be left of it. */
  clear(): void {
    const { cluster } = this;
    const { view } = cluster;
    for (const n of ['n1', 'n2', 'n3']) cluster.start(n);
    for (const { id } of [...view.services()]) this.#apply(planRemoveService(view, id).plan);
    while ([...view.attachments()].length > 0) this.#detach(0);
    for (const { name } of NETWORKS) {
      const network = view.findByName('network', name);
      if (network !== undefined) this.#apply(planRemoveNetwork(view, network.id));
    }
    const isBare = (): boolean =>
      [...view.services(), ...view.tasks()].length === 0 && [...view.networks()].length === 1;
    cluster.runUntil(isBare, 'all is gone');
  }
}

describe('addresses, subnets and numbers', () => {
  it('are never given twice, and all come back, whatever is made and removed', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const playground = new Playground();
        playground.fill();
        for (const action of steps) playground.take(action);
        playground.clear();
      }),
      { numRuns: 60 },
    );
  });
});
