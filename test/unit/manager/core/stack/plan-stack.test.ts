import assert from 'node:assert/strict';
import { STACK_LABEL } from '../../../../../common/model/labels.js';
import type { Stack } from '../../../../../common/model/objects.js';
import {
  planRemoveStack,
  planStack,
  type StackPlan,
} from '../../../../../manager/core/stack/plan-stack.js';
import type { Snapshot } from '../../../../../manager/core/snapshot.js';
import type { StackSpec } from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aNetwork,
  aService,
  aStack,
  snapshotOf,
  T0,
  type Some,
} from '../../../../support/builders.js';
import { ModelCluster } from '../../../../support/model-cluster.js';

function spec(some: Some<StackSpec> = {}): Stack['spec'] {
  const service = (name: string, image: string, ports: object[] = []): object => ({
    name: `shop_${name}`,
    mode: { $case: 'replicated', value: { replicas: 2 } },
    taskTemplate: { containerSpec: { image }, networks: [{ target: 'shop_default' }] },
    endpointSpec: { ports },
  });
  return aStack({
    spec: {
      name: 'shop',
      networks: [{ name: 'shop_default' }],
      services: [
        service('web', 'web:1', [{ targetPort: 80, publishedPort: 8080 }]),
        service('api', 'api:1'),
      ],
      ...some,
    },
  }).spec;
}

function deploy(snapshot: Snapshot, wanted: Stack['spec'], prune = false): StackPlan {
  let ids = 0;
  const newId = (): string => `id${T0}${++ids}`;
  return planStack(snapshot, wanted, { prune, nowMs: T0, newId });
}

const words = (p: StackPlan): string[] =>
  p.changes.map((c) => `${c.action.slice(20)} ${c.kind} ${c.name}`);
const messages = (p: StackPlan): string[] => p.problems.map((x) => `${x.path}: ${x.message}`);

/** A cluster with the stack deployed and running. */
function deployed(): ModelCluster {
  const cluster = new ModelCluster();
  const { plan, problems } = planStack(cluster.view, spec(), { prune: false, ...cluster.context });
  assert.deepEqual(problems, []);
  cluster.apply(plan);
  cluster.runUntil(
    () => cluster.running('shop_web').length === 2 && cluster.running('shop_api').length === 2,
    'both run',
  );
  return cluster;
}

describe('deploying a stack', () => {
  it('creates networks and services at once, tied together by ids', () => {
    const made = deploy(snapshotOf({}), spec());
    assert.deepEqual(words(made), [
      'CREATE network shop_default',
      'CREATE service shop_api',
      'CREATE service shop_web',
    ]);
    assert.equal(made.plan.groups.length, 1);
    const [network, web] = made.plan.groups.flat();
    assert.ok(network?.kind === 'network' && web?.kind === 'service');
    assert.equal(web.object.spec.taskTemplate.networks[0]?.target, network.object.id);
    assert.equal(web.object.spec.labels[STACK_LABEL], 'shop');
  });

  it('has nothing to do the second time', () => {
    const cluster = deployed();
    const again = deploy(cluster.view, spec());
    assert.deepEqual(words(again), [
      'NONE network shop_default',
      'NONE service shop_api',
      'NONE service shop_web',
    ]);
    assert.deepEqual(again.plan.groups, []);
  });

  it('updates what differs and only that', () => {
    const cluster = deployed();
    const wanted = spec();
    const [web] = wanted.services;
    assert.ok(web !== undefined);
    web.taskTemplate.containerSpec.image = 'web:2';
    const made = deploy(cluster.view, wanted);
    assert.deepEqual(words(made).slice(1), ['NONE service shop_api', 'UPDATE service shop_web']);
    const updated = made.plan.groups.flat().find((c) => c.kind === 'service');
    assert.ok(updated?.kind === 'service');
    assert.equal(updated.object.specVersion, 2);
    assert.equal(updated.object.updateStatus?.state, 'UPDATE_STATE_UPDATING');
    const guarded = made.plan.guards?.map((g) => g.object.id);
    assert.deepEqual(guarded, [cluster.view.findByPrefix('network', 'shop_default').id]);
  });

  it('prunes only when asked', () => {
    const cluster = deployed();
    const wanted = { ...spec(), services: spec().services.slice(0, 1) };
    assert.deepEqual(words(deploy(cluster.view, wanted)), [
      'NONE network shop_default',
      'NONE service shop_web',
    ]);
    assert.deepEqual(words(deploy(cluster.view, wanted, true)), [
      'NONE network shop_default',
      'REMOVE service shop_api',
      'NONE service shop_web',
    ]);
  });

  it('is refused whole, with every mistake and the holder of a port', () => {
    const holder = aService({
      spec: { name: 'old', endpointSpec: { ports: [{ targetPort: 1, publishedPort: 8080 }] } },
    });
    const wanted = spec();
    const [, api] = wanted.services;
    assert.ok(api !== undefined);
    api.taskTemplate.containerSpec.image = '';
    const made = deploy(snapshotOf({ services: [holder] }), wanted);
    assert.deepEqual(messages(made), [
      'services[0].endpointSpec.ports[0]: port 8080/tcp is already published by service old',
      'services[1].taskTemplate.containerSpec.image: an image is required',
    ]);
    assert.deepEqual(made.plan.groups, []);
  });

  it('finds two of its own services on one port', () => {
    const wanted = spec();
    for (const service of wanted.services) {
      service.endpointSpec = {
        ...service.endpointSpec,
        ports: wanted.services[0]?.endpointSpec.ports ?? [],
      };
    }
    assert.deepEqual(messages(deploy(snapshotOf({}), wanted)), [
      'services[1].endpointSpec.ports[0]: port 8080/tcp is already published by service shop_web',
    ]);
  });

  it('lets a port move from a service that goes to one that comes', () => {
    const cluster = deployed();
    const wanted = spec();
    const [web] = wanted.services;
    assert.ok(web !== undefined);
    web.name = 'shop_front';
    assert.notDeepEqual(messages(deploy(cluster.view, wanted)), []);
    assert.deepEqual(messages(deploy(cluster.view, wanted, true)), []);
  });

  it('leaves alone what belongs to others', () => {
    const services = [aService({ spec: { name: 'shop_web' } })];
    const networks = [aNetwork({ spec: { name: 'shop_default' } })];
    assert.deepEqual(messages(deploy(snapshotOf({ services, networks }), spec())), [
      'networks[0]: network shop_default exists and is not of stack shop',
      'services[0]: service shop_web exists and is not of stack shop',
    ]);
  });
});

describe('removing a stack', () => {
  it('ends with nothing left', () => {
    const cluster = deployed();
    const { id } = cluster.view.findByPrefix('stack', 'shop');
    const removal = planRemoveStack(cluster.view, id);
    assert.equal(removal.changes.length, 3);
    cluster.apply(removal.plan);
    cluster.runUntil(() => [...cluster.view.stacks()].length === 0, 'the stack is gone');
    assert.deepEqual([...cluster.view.services()], []);
    assert.deepEqual(
      [...cluster.view.networks()].map((n) => n.spec.name),
      ['ingress'],
    );
    assert.deepEqual(cluster.containers(), []);
  });

  it('can be thought better of', () => {
    const cluster = deployed();
    const { id } = cluster.view.findByPrefix('stack', 'shop');
    cluster.apply(planRemoveStack(cluster.view, id).plan);
    cluster.step();
    const { plan, problems } = planStack(cluster.view, spec(), {
      prune: false,
      ...cluster.context,
    });
    assert.deepEqual(problems, []);
    cluster.apply(plan);
    cluster.runUntil(() => cluster.running('shop_web').length === 2, 'it runs again');
    cluster.run(5000);
    assert.equal(cluster.containers().length, 4);
  });

  it('is refused while others use its network', () => {
    const cluster = deployed();
    const network = cluster.view.findByPrefix('network', 'shop_default');
    const networks = [{ target: network.id }];
    cluster.put('service', aService({ spec: { name: 'guest', taskTemplate: { networks } } }));
    const { id } = cluster.view.findByPrefix('stack', 'shop');
    assert.throws(() => planRemoveStack(cluster.view, id), {
      kind: 'failed-precondition',
      message: /network shop_default of stack shop is used by service guest/,
    });
  });
});
