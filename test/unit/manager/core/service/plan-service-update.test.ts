import assert from 'node:assert/strict';
import type { Service, ServiceSpec } from '../../../../../common/model/objects.js';
import {
  planCreateService,
  planRollbackService,
  planScaleService,
  planUpdateService,
} from '../../../../../manager/core/service/plan-service-update.js';
import { planReplicated } from '../../../../../manager/core/orchestrator/plan-replicated.js';
import { withDefaults } from '../../../../../manager/core/validate/service-spec.js';
import {
  SessionAffinity,
  TaskState,
  UpdateState,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aNetwork,
  aNode,
  aService,
  aTask,
  snapshotOf,
  T0,
  type Some,
} from '../../../../support/builders.js';

const context = { nowMs: T0 + 1000, newId: (): string => 'new-id' };

function web(some: Some<Service> = {}): Service {
  const service = aService(some);
  return { ...service, version: 7, spec: withDefaults(service.spec) };
}

function withImage(spec: ServiceSpec, image: string): ServiceSpec {
  const containerSpec = { ...spec.taskTemplate.containerSpec, image };
  return { ...spec, taskTemplate: { ...spec.taskTemplate, containerSpec } };
}

const running = {
  ...aTask({ nodeId: 'n1', status: { state: TaskState.RUNNING } }),
  spec: web().spec.taskTemplate,
};

describe('calls on services', () => {
  it('create with names of networks turned into ids, guarded by the networks', () => {
    const network = aNetwork();
    const { spec } = aService({ spec: { taskTemplate: { networks: [{ target: 'backend' }] } } });
    const made = planCreateService(snapshotOf({ networks: [network] }), spec, context);
    assert.equal(made.service.spec.taskTemplate.networks[0]?.target, network.id);
    assert.deepEqual(made.plan.guards, [{ kind: 'network', object: network }]);
    assert.equal(made.service.specVersion, 1);
  });

  it('change nothing when the spec is the same', () => {
    const service = web();
    const snapshot = snapshotOf({ services: [service], tasks: [running] });
    const request = { serviceId: service.id, version: 7, spec: service.spec };
    assert.deepEqual(planUpdateService(snapshot, request, context).plan.groups, []);
  });

  it('restart nothing for another affinity or drain time', () => {
    const service = web();
    const snapshot = snapshotOf({ services: [service], tasks: [running] });
    const endpointSpec = {
      ...service.spec.endpointSpec,
      sessionAffinity: SessionAffinity.CLIENT_IP,
      drainMs: 60_000,
    };
    const { service: next, problems } = planUpdateService(
      snapshot,
      { serviceId: service.id, version: 0, spec: { ...service.spec, endpointSpec } },
      context,
    );
    assert.deepEqual(problems, []);
    assert.equal(next.specVersion, 2);
    assert.equal(next.updateStatus, undefined);
    const after = snapshotOf({ services: [next], tasks: [running], nodes: [aNode()] });
    assert.deepEqual(planReplicated(after, next.id, context).groups, []);
  });

  it('begin the update in the same write as its spec', () => {
    const service = web();
    const snapshot = snapshotOf({ services: [service], tasks: [running] });
    const spec = withImage(service.spec, 'web:2');
    const { service: next } = planUpdateService(
      snapshot,
      { serviceId: service.id, version: 0, spec },
      context,
    );
    assert.equal(next.specVersion, 2);
    assert.deepEqual(next.previousSpec, service.spec);
    assert.equal(next.updateStatus?.state, UpdateState.UPDATING);
    assert.equal(next.updateStatus.startedAtMs, context.nowMs);
  });

  it('are refused when another write came between', () => {
    const service = web();
    const request = { serviceId: service.id, version: 6, spec: service.spec };
    assert.throws(() => planUpdateService(snapshotOf({ services: [service] }), request, context), {
      kind: 'conflict',
      message: /service web was changed meanwhile/,
    });
  });

  it('scale without an update, and without disturbing one that is paused', () => {
    const service = web();
    const request = { serviceId: service.id, version: 0, replicas: 9 };
    const snapshot = snapshotOf({ services: [service], tasks: [running] });
    assert.equal(planScaleService(snapshot, request, context).service.updateStatus, undefined);

    const paused: Service = {
      ...service,
      spec: withImage(service.spec, 'web:broken'),
      previousSpec: service.spec,
      specVersion: 2,
      updateStatus: {
        state: UpdateState.PAUSED,
        startedAtMs: T0,
        completedAtMs: 0,
        resumedAtMs: 0,
        message: 'why',
      },
    };
    const before = snapshotOf({ services: [paused], tasks: [running] });
    const scaled = planScaleService(before, request, context).service;
    assert.deepEqual(scaled.updateStatus, paused.updateStatus);
    assert.deepEqual(scaled.previousSpec?.mode, scaled.spec.mode);
    assert.equal(scaled.previousSpec.taskTemplate.containerSpec.image, 'web:1');
  });

  it('roll back and forth', () => {
    const service = { ...web(), specVersion: 4, previousSpec: withImage(web().spec, 'web:0') };
    const request = { serviceId: service.id, version: 7 };
    const back = planRollbackService(snapshotOf({ services: [service] }), request, context).service;
    assert.equal(back.spec.taskTemplate.containerSpec.image, 'web:0');
    assert.equal(back.previousSpec?.taskTemplate.containerSpec.image, 'web:1');
    assert.equal(back.specVersion, 5);
    assert.equal(back.updateStatus?.state, UpdateState.ROLLBACK_STARTED);
    const forth = planRollbackService(snapshotOf({ services: [back] }), request, context).service;
    assert.equal(forth.spec.taskTemplate.containerSpec.image, 'web:1');
  });

  it('say that there is nothing to roll back to', () => {
    const request = { serviceId: 'id-web', version: 0 };
    assert.throws(() => planRollbackService(snapshotOf({ services: [web()] }), request, context), {
      kind: 'failed-precondition',
    });
  });
});
