import { HatobaError } from '../../common/errors.js';
import type {
  Cluster,
  Network,
  Node,
  NodeDescription,
  Service,
  ServiceRevision,
  ServiceSpec,
  Stack,
  StackSpec,
  Task,
  TaskSpec,
  TaskStatus,
} from '../../common/model/objects.js';
import * as pb from '../gen/hatoba/v1/types.js';
import { checkBounds } from './bounds.js';

/**
 * Establishes the types of common/model/objects.ts: a sub-message whose absence means "all
 * defaults" is filled in, one that cannot be guessed (a spec, a mode) must be there. Enums need no
 * check here: the generated decoders refuse numbers they do not know. Specs and descriptions, which
 * come from outside, are checked for their sizes too (bounds.ts); whole objects come from a manager.
 */
function required<T>(value: T | undefined, path: string): T {
  if (value === undefined) {
    throw new HatobaError('invalid-argument', `${path} is missing`, { detail: { path } });
  }
  return value;
}

function shapeTaskSpec(spec: pb.TaskSpec, path: string): TaskSpec {
  return {
    ...spec,
    containerSpec: required(spec.containerSpec, `${path}.containerSpec`),
    resources: {
      limits: spec.resources?.limits ?? pb.Limit.fromPartial({}),
      reservations: spec.resources?.reservations ?? pb.Resources.fromPartial({}),
    },
    restartPolicy: spec.restartPolicy ?? pb.RestartPolicy.fromPartial({}),
    placement: spec.placement ?? pb.Placement.fromPartial({}),
  };
}

/** @throws {HatobaError} invalid-argument */
export function checkServiceSpec(spec: pb.ServiceSpec, path = 'spec'): ServiceSpec {
  checkBounds(spec, path);
  return shapeServiceSpec(spec, path);
}

function shapeServiceSpec(spec: pb.ServiceSpec, path: string): ServiceSpec {
  return {
    ...spec,
    taskTemplate: shapeTaskSpec(
      required(spec.taskTemplate, `${path}.taskTemplate`),
      `${path}.taskTemplate`,
    ),
    mode: required(spec.mode, `${path}.mode`),
    updateConfig: spec.updateConfig ?? defaultUpdateConfig(),
    rollbackConfig: spec.rollbackConfig ?? defaultUpdateConfig(),
    endpointSpec: spec.endpointSpec ?? pb.EndpointSpec.fromPartial({}),
  };
}

/** Swarm's: one task at a time, five seconds of watching it. */
export function defaultUpdateConfig(): pb.UpdateConfig {
  return pb.UpdateConfig.fromPartial({ parallelism: 1, monitorMs: 5000 });
}

/** @throws {HatobaError} invalid-argument */
export function checkService(service: pb.Service): Service {
  const { previousSpec } = service;
  return {
    ...service,
    spec: shapeServiceSpec(required(service.spec, 'service.spec'), 'service.spec'),
    previousSpec:
      previousSpec === undefined
        ? undefined
        : shapeServiceSpec(previousSpec, 'service.previousSpec'),
    endpoint: service.endpoint ?? pb.Endpoint.fromPartial({}),
  };
}

/** @throws {HatobaError} invalid-argument */
export function checkServiceRevision(revision: pb.ServiceRevision): ServiceRevision {
  const spec = required(revision.spec, 'revision.spec');
  return { ...revision, spec: shapeServiceSpec(spec, 'revision.spec') };
}

export function checkTaskStatus(status: pb.TaskStatus): TaskStatus {
  return {
    ...status,
    containerStatus: status.containerStatus ?? pb.ContainerStatus.fromPartial({}),
  };
}

/** @throws {HatobaError} invalid-argument */
export function checkTask(task: pb.Task): Task {
  const spec = shapeTaskSpec(required(task.spec, 'task.spec'), 'task.spec');
  return fillInTask({ ...task }, spec);
}

/**
 * Makes a task of the message itself, with a spec that is known to be right: no copy, as V8 gives a
 * copy of so many fields twice the memory when it is frozen, and there are many tasks.
 */
export function fillInTask(task: pb.Task, spec: TaskSpec): Task {
  return Object.assign(task, {
    spec,
    status: checkTaskStatus(task.status ?? pb.TaskStatus.fromPartial({})),
  });
}

/** @throws {HatobaError} invalid-argument */
export function checkNodeDescription(description: pb.NodeDescription): NodeDescription {
  checkBounds(description, 'description');
  return shapeNodeDescription(description);
}

function shapeNodeDescription(description: pb.NodeDescription): NodeDescription {
  return {
    ...description,
    platform: description.platform ?? pb.Platform.fromPartial({}),
    resources: description.resources ?? pb.Resources.fromPartial({}),
    engine: description.engine ?? pb.EngineDescription.fromPartial({}),
  };
}

/** @throws {HatobaError} invalid-argument */
export function checkNode(node: pb.Node): Node {
  return {
    ...node,
    spec: required(node.spec, 'node.spec'),
    description: shapeNodeDescription(node.description ?? pb.NodeDescription.fromPartial({})),
    status: node.status ?? pb.NodeStatus.fromPartial({}),
  };
}

/** @throws {HatobaError} invalid-argument */
export function checkNetwork(network: pb.Network): Network {
  return { ...network, spec: required(network.spec, 'network.spec') };
}

/** @throws {HatobaError} invalid-argument */
export function checkStackSpec(spec: pb.StackSpec, path = 'spec'): StackSpec {
  checkBounds(spec, path);
  return shapeStackSpec(spec, path);
}

function shapeStackSpec(spec: pb.StackSpec, path: string): StackSpec {
  return {
    ...spec,
    services: spec.services.map((s, i) => shapeServiceSpec(s, `${path}.services[${i}]`)),
  };
}

/** @throws {HatobaError} invalid-argument */
export function checkStack(stack: pb.Stack): Stack {
  return { ...stack, spec: shapeStackSpec(required(stack.spec, 'stack.spec'), 'stack.spec') };
}

/** @throws {HatobaError} invalid-argument */
export function checkCluster(cluster: pb.Cluster): Cluster {
  return {
    ...cluster,
    spec: required(cluster.spec, 'cluster.spec'),
    joinTokens: required(cluster.joinTokens, 'cluster.joinTokens'),
  };
}
