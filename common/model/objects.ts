import type * as pb from '../../proto/gen/hatoba/v1/types.js';

/**
 * The objects of proto/hatoba/v1/types.proto with the sub-messages that are always there known to
 * be there. These are the same values, not copies: proto/wire/check.ts establishes the shape once,
 * where bytes or calls come in, and everything behind it trusts these types.
 */
type Refine<T, R> = Omit<T, keyof R> & R;

export type ResourceRequirements = Refine<
  pb.ResourceRequirements,
  { limits: pb.Limit; reservations: pb.Resources }
>;
export type TaskSpec = Refine<
  pb.TaskSpec,
  {
    containerSpec: pb.ContainerSpec;
    resources: ResourceRequirements;
    restartPolicy: pb.RestartPolicy;
    placement: pb.Placement;
  }
>;
export type ServiceMode = NonNullable<pb.ServiceSpec['mode']>;
export type ServiceSpec = Refine<
  pb.ServiceSpec,
  {
    taskTemplate: TaskSpec;
    mode: ServiceMode;
    updateConfig: pb.UpdateConfig;
    rollbackConfig: pb.UpdateConfig;
    endpointSpec: pb.EndpointSpec;
  }
>;
export type Service = Refine<
  pb.Service,
  { spec: ServiceSpec; previousSpec: ServiceSpec | undefined; endpoint: pb.Endpoint }
>;
export type ServiceRevision = Refine<pb.ServiceRevision, { spec: ServiceSpec }>;
export type TaskStatus = Refine<pb.TaskStatus, { containerStatus: pb.ContainerStatus }>;
export type Task = Refine<pb.Task, { spec: TaskSpec; status: TaskStatus }>;
export type NodeDescription = Refine<
  pb.NodeDescription,
  { platform: pb.Platform; resources: pb.Resources; engine: pb.EngineDescription }
>;
export type Node = Refine<
  pb.Node,
  { spec: pb.NodeSpec; description: NodeDescription; status: pb.NodeStatus }
>;
export type Network = Refine<pb.Network, { spec: pb.NetworkSpec }>;
export type StackSpec = Refine<pb.StackSpec, { services: ServiceSpec[] }>;
export type Stack = Refine<pb.Stack, { spec: StackSpec }>;
export type Cluster = Refine<pb.Cluster, { spec: pb.ClusterSpec; joinTokens: pb.JoinTokens }>;
/** Flat: all of it is always there. */
export type Attachment = pb.Attachment;
