import type { Service, Task } from '../../../common/model/objects.js';
import type { PortConfig, RestartHistory } from '../../../proto/gen/hatoba/v1/types.js';
import { PublishMode, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { PlanContext } from '../plan-context.js';

/** What a task takes over: from its service, or from the task it replaces. */
export type TaskOrigin = Pick<Task, 'spec' | 'specVersion' | 'hostPorts' | 'serviceLabels'>;

export interface TaskPlace {
  /** 0 = a global service's, of the node `nodeId`. */
  slot: number;
  /** Empty = the scheduler chooses. */
  nodeId: string;
  generation: number;
  desiredState: TaskState;
  /** 0 = at once. */
  startAfterMs: number;
  replacesTaskId: string;
  cause: string;
  restarts: RestartHistory | undefined;
  takesOver: boolean;
}

/** The ports that each task of the service binds on its own node. */
export function hostPortsOf(service: Service): PortConfig[] {
  return service.spec.endpointSpec.ports.filter((p) => p.publishMode === PublishMode.HOST);
}

/** What a task made from the service's present spec has. */
export function originOf(service: Service): TaskOrigin {
  return {
    spec: service.spec.taskTemplate,
    specVersion: service.specVersion,
    hostPorts: hostPortsOf(service),
    serviceLabels: service.spec.labels,
  };
}

export function newTask(
  service: Service,
  origin: TaskOrigin,
  place: TaskPlace,
  context: PlanContext,
): Task {
  const { nowMs } = context;
  return {
    id: context.newId(),
    version: 0,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    serviceId: service.id,
    serviceName: service.spec.name,
    ...place,
    spec: origin.spec,
    specVersion: origin.specVersion,
    hostPorts: origin.hostPorts,
    serviceLabels: origin.serviceLabels,
    networksAttachments: [],
    desiredSinceMs: nowMs,
    drainMs: 0,
    assignedGenericResources: [],
    jobIteration: service.jobStatus?.iteration ?? 0,
    desiredReason: '',
    status: {
      state: TaskState.NEW,
      timestampMs: nowMs,
      message: 'created',
      err: '',
      containerStatus: { containerId: '', pid: 0, oomKilled: false },
      runningAtMs: 0,
    },
  };
}
