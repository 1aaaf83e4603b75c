import assert from 'node:assert/strict';
import type { Service, Task } from '../../../../../common/model/objects.js';
import { NetworkRoom } from '../../../../../manager/core/network/room.js';
import {
  planCreateService,
  planScaleService,
  planUpdateService,
} from '../../../../../manager/core/service/plan-service-update.js';
import { planStack } from '../../../../../manager/core/stack/plan-stack.js';
import {
  StackSpec,
  TaskState,
  UpdateOrder,
  type ServiceSpec,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { checkStackSpec } from '../../../../../proto/wire/check.js';
import {
  aCluster,
  aNetwork,
  aService,
  aTask,
  snapshotOf,
  T0,
  type Some,
  type SnapshotContent,
} from '../../../../support/builders.js';

const context = { nowMs: T0, newId: () => 'new' };
const IPAM = [{ subnet: '10.0.1.0/29', gateway: '10.0.1.1' }];
const web = aNetwork({ id: 'w', spec: { name: 'web' }, ipam: IPAM });

function on(name: string, replicas: number, some: Some<ServiceSpec> = {}): Service {
  const mode = { $case: 'replicated', value: { replicas } } as const;
  const template = { containerSpec: { image: 'i' }, networks: [{ target: 'w' }] };
  return aService({
    spec: { ...some, name, mode, taskTemplate: { ...template, ...some.taskTemplate } },
  });
}

/** A service whose tasks and virtual address are there, from 10.0.1.<first> on. */
function settled(service: Service, first: number, tasks: number): SnapshotContent {
  const address = (i: number): string => `10.0.1.${first + i}/29`;
  const endpoint = { ...service.endpoint, virtualIps: [{ networkId: 'w', addr: address(0) }] };
  const status = { state: TaskState.RUNNING };
  return {
    services: [{ ...service, endpoint }],
    tasks: Array.from({ length: tasks }, (_, i): Task => {
      const networksAttachments = [{ networkId: 'w', addresses: [address(i + 1)] }];
      return aTask({
        serviceId: service.id,
        slot: i + 1,
        nodeId: 'n',
        status,
        networksAttachments,
      });
    }),
  };
}

describe('the room of networks', () => {
  it('lets in what fits, to the last address', () => {
    const snapshot = snapshotOf({ networks: [web] });
    assert.deepEqual(planCreateService(snapshot, on('x', 4).spec, context).problems, []);
  });

  it('refuses what does not, with the numbers', () => {
    const holder = settled(on('y', 3), 2, 3);
    const snapshot = snapshotOf({ networks: [web], ...holder });
    const { problems, plan } = planCreateService(snapshot, on('x', 3).spec, context);
    assert.deepEqual(plan.groups, []);
    assert.deepEqual(problems, [
      {
        path: 'taskTemplate.networks',
        kind: 'resource-exhausted',
        message:
          'network web (10.0.1.0/29): 6 addresses, 5 used, 1 free; service x needs 4: 3 tasks and a ' +
          'virtual address; use a network with a larger subnet or with several',
      },
    ]);
  });

  it('counts what was let in before and has no addresses yet', () => {
    const snapshot = snapshotOf({ networks: [web], services: [on('y', 3)] });
    const [problem] = planCreateService(snapshot, on('x', 1).spec, context).problems;
    assert.match(problem?.message ?? '', /5 free \(4 of them for tasks of other services\)/);
    const room = new NetworkRoom(snapshotOf({ networks: [web] }));
    assert.deepEqual(room.check(on('a', 2)), []);
    assert.equal(room.check(on('b', 2)).length, 1);
  });

  it('counts one address more where updates start the new task first', () => {
    const snapshot = snapshotOf({ networks: [web] });
    const order = { updateConfig: { order: UpdateOrder.START_FIRST } };
    const [problem] = planCreateService(snapshot, on('x', 4, order).spec, context).problems;
    assert.match(
      problem?.message ?? '',
      /needs 6: 4 tasks, one more while it is updated and a virtual address/,
    );
  });

  it('never refuses less, or another thing altogether', () => {
    const service = on('x', 4);
    const snapshot = snapshotOf({ networks: [web], ...settled(service, 2, 4) });
    const request = { serviceId: service.id, version: 0 };
    const scale = (replicas: number) =>
      planScaleService(snapshot, { ...request, replicas }, context).problems;
    assert.deepEqual(scale(2), []);
    assert.match(
      scale(5)[0]?.message ?? '',
      /needs 1 more: 5 tasks and a virtual address, less the 5/,
    );
    const labelled = { ...service.spec, labels: { a: 'b' } };
    const update = planUpdateService(snapshot, { ...request, spec: labelled }, context);
    assert.deepEqual(update.problems, []);
  });

  it('looks at networks and services of a stack together', () => {
    const spec = checkStackSpec(
      StackSpec.fromPartial({
        name: 's',
        networks: [{ name: 's_net', driver: 'overlay', ipam: [{ subnet: '10.7.0.0/29' }] }],
        services: ['s_a', 's_b'].map((name) => ({
          name,
          mode: { $case: 'replicated' as const, value: { replicas: 2 } },
          taskTemplate: { containerSpec: { image: 'i' }, networks: [{ target: 's_net' }] },
        })),
      }),
    );
    let id = 0;
    const options = { nowMs: T0, newId: () => `new${id++}`, prune: false };
    const { problems } = planStack(snapshotOf({ cluster: aCluster() }), spec, options);
    assert.deepEqual(
      problems.map((p) => p.path),
      ['services[1].taskTemplate.networks'],
    );
    assert.match(problems[0]?.message ?? '', /service s_b needs 3: 2 tasks and a virtual address/);
  });
});
