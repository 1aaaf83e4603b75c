import type { Task, TaskStatus } from '../../../common/model/objects.js';
import * as pb from '../../../proto/gen/hatoba/v1/types.js';
import { checkTask, checkTaskStatus } from '../../../proto/wire/check.js';

/** A task as the managers assign it: assigned, wanted running, one busybox container. */
export function assignedTask(
  changes: Omit<Partial<Task>, 'status' | 'spec'> & {
    status?: Partial<TaskStatus>;
    spec?: pb.DeepPartial<pb.TaskSpec>;
  } = {},
): Task {
  const { status, spec, ...rest } = changes;
  const base = checkTask(
    pb.Task.fromPartial({
      id: 't1',
      serviceId: 's1',
      serviceName: 'web',
      slot: 1,
      generation: 1,
      nodeId: 'n1',
      desiredState: pb.TaskState.RUNNING,
      spec: { containerSpec: { image: 'busybox' }, ...spec },
    }),
  );
  return { ...base, ...rest, status: taskStatus(status) };
}

export function taskStatus(changes: Partial<TaskStatus> = {}): TaskStatus {
  const status = checkTaskStatus(
    pb.TaskStatus.fromPartial({ state: pb.TaskState.ASSIGNED, timestampMs: 1 }),
  );
  return { ...status, ...changes };
}
