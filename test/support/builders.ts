import type {
  Attachment,
  Cluster,
  Network,
  Node,
  Service,
  ServiceRevision,
  Stack,
  Task,
} from '../../common/model/objects.js';
import type { Kind, ObjectOfKind } from '../../manager/core/snapshot.js';
import { deepFreeze } from '../../manager/store/codec.js';
import { keyOf } from '../../manager/store/keys.js';
import { View, type ViewPut } from '../../manager/view/view.js';
import {
  checkCluster,
  checkNetwork,
  checkNode,
  checkService,
  checkServiceRevision,
  checkStack,
  checkTask,
} from '../../proto/wire/check.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';

/** What a test leaves out of an object; absent sub-messages get their defaults. */
export type Some<T> = pb.DeepPartial<T>;

/** The start of FakeClock. */
export const T0 = 1_700_000_000_000;

/** Service "web" of 1 replica of image web:1; `id` follows the name. */
export function aService(some: Some<pb.Service> = {}): Service {
  const name = some.spec?.name ?? 'web';
  return checkService(
    pb.Service.fromPartial({
      id: `id-${name}`,
      version: 1,
      createdAtMs: T0,
      updatedAtMs: T0,
      specVersion: 1,
      ...some,
      spec: {
        mode: { $case: 'replicated', value: { replicas: 1 } },
        updateConfig: { parallelism: 1, monitorMs: 5000 },
        rollbackConfig: { parallelism: 1, monitorMs: 5000 },
        ...some.spec,
        name,
        taskTemplate: {
          ...some.spec?.taskTemplate,
          containerSpec: { image: 'web:1', ...some.spec?.taskTemplate?.containerSpec },
        },
      },
    }),
  );
}

/** A revision of a service with the service's present spec and number. */
export function aRevision(service: Service, some: Some<pb.ServiceRevision> = {}): ServiceRevision {
  const { number = service.specVersion } = some;
  return checkServiceRevision(
    pb.ServiceRevision.fromPartial({
      id: `${service.id}/${number}`,
      version: 1,
      createdAtMs: T0,
      updatedAtMs: T0,
      serviceId: service.id,
      cause: 'created',
      ...some,
      number,
      spec: some.spec ?? service.spec,
    }),
  );
}

/** Task 1 of generation 1 of service "id-web", new, to be running. */
export function aTask(some: Some<pb.Task> = {}): Task {
  const { serviceId = 'id-web', slot = 1, generation = 1 } = some;
  return checkTask(
    pb.Task.fromPartial({
      id: `t-${serviceId.replace(/^id-/, '')}-${slot}-${generation}`,
      version: 1,
      createdAtMs: T0,
      updatedAtMs: T0,
      serviceName: serviceId.replace(/^id-/, ''),
      specVersion: 1,
      desiredState: pb.TaskState.RUNNING,
      ...some,
      serviceId,
      slot,
      generation,
      spec: { ...some.spec, containerSpec: { image: 'web:1', ...some.spec?.containerSpec } },
      status: { timestampMs: T0, ...some.status },
    }),
  );
}

/** A ready, active worker with 4 CPUs and 8 GiB; hostname and name follow the id. */
export function aNode(some: Some<pb.Node> = {}): Node {
  const id = some.id ?? 'n1';
  return checkNode(
    pb.Node.fromPartial({
      id,
      version: 1,
      createdAtMs: T0,
      updatedAtMs: T0,
      index: Number(/\d+$/.exec(id)?.[0] ?? 1),
      ...some,
      spec: { name: id, ...some.spec },
      description: {
        hostname: id,
        platform: { architecture: 'amd64', os: 'linux' },
        resources: { nanoCpus: 4e9, memoryBytes: 8 * 1024 ** 3 },
        underlayMtuBytes: 1500,
        ...some.description,
      },
      status: { state: pb.NodeState.READY, stateChangedAtMs: T0, ...some.status },
    }),
  );
}

/** An overlay network, not yet allocated; `id` follows the name. */
export function aNetwork(some: Some<pb.Network> = {}): Network {
  const name = some.spec?.name ?? 'backend';
  return checkNetwork(
    pb.Network.fromPartial({
      id: `net-${name}`,
      version: 1,
      createdAtMs: T0,
      updatedAtMs: T0,
      ...some,
      spec: { driver: 'overlay', attachable: true, ...some.spec, name },
    }),
  );
}

export function aStack(some: Some<pb.Stack> = {}): Stack {
  const name = some.spec?.name ?? 'app';
  return checkStack(
    pb.Stack.fromPartial({
      id: `stack-${name}`,
      version: 1,
      createdAtMs: T0,
      updatedAtMs: T0,
      ...some,
      spec: { ...some.spec, name },
    }),
  );
}

/** A cluster with the defaults of the first start, without a real CA. */
export function aCluster(some: Some<pb.Cluster> = {}): Cluster {
  return checkCluster(
    pb.Cluster.fromPartial({
      id: 'cluster',
      version: 1,
      createdAtMs: T0,
      updatedAtMs: T0,
      joinTokens: { worker: 'HTBTKN-1-x-w', manager: 'HTBTKN-1-x-m' },
      ...some,
      spec: {
        defaultAddressPools: ['10.128.0.0/9'],
        subnetSize: 24,
        dataPathPort: 4789,
        heartbeatPeriodMs: 1000,
        taskHistoryLimit: 5,
        ...some.spec,
      },
    }),
  );
}

export interface SnapshotContent {
  cluster?: Cluster;
  services?: readonly Service[];
  revisions?: readonly ServiceRevision[];
  tasks?: readonly Task[];
  nodes?: readonly Node[];
  networks?: readonly Network[];
  stacks?: readonly Stack[];
  attachments?: readonly Attachment[];
}

/** A view of exactly these objects (frozen), at the newest of their versions. */
export function snapshotOf(content: SnapshotContent): View {
  const puts: ViewPut[] = [
    ...putsOf('cluster', content.cluster === undefined ? [] : [content.cluster]),
    ...putsOf('service', content.services ?? []),
    ...putsOf('revision', content.revisions ?? []),
    ...putsOf('task', content.tasks ?? []),
    ...putsOf('node', content.nodes ?? []),
    ...putsOf('network', content.networks ?? []),
    ...putsOf('stack', content.stacks ?? []),
    ...putsOf('attachment', content.attachments ?? []),
  ];
  const view = new View();
  view.reset(Math.max(1, ...puts.map((p) => p.object.version)), puts);
  return view;
}

function putsOf<K extends Kind>(kind: K, objects: readonly ObjectOfKind[K][]): ViewPut[] {
  return objects.map(
    (object) =>
      ({ type: 'put', key: keyOf(kind, object), kind, object: deepFreeze(object) }) as ViewPut,
  );
}
