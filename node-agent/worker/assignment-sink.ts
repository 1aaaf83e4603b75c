import type { Logger } from '../../common/logger.js';
import type { Task } from '../../common/model/objects.js';
import type { AssignmentsMessage } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { AssignmentAction, AssignmentsType } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { checkTask } from '../../proto/wire/check.js';
import {
  applyAssignments,
  initialAssignments,
  toNetworkView,
  type Assignments,
  type CheckedChange,
  type NetworkView,
} from '../core/assignment-diff.js';
import { isTaskId } from '../state/task-db.js';

export interface AssignmentSinkModules {
  readonly worker: {
    assign(step: { readonly updated: readonly Task[]; readonly removed: readonly string[] }): void;
    sweep(): Promise<void>;
  };
  readonly networks: {
    apply(revision: number, state: NetworkView): void;
    confirm(revision: number): void;
  };
  readonly log: Logger;
}

/** Takes the messages of the managers apart: tasks to the worker, the rest to the networks. */
export class AssignmentSink {
  readonly #nodeId: string;
  readonly #modules: AssignmentSinkModules;
  #assignments: Assignments;

  /** @param options.tasks what the node holds already, so that a full set can remove it */
  constructor(options: { nodeId: string; tasks: readonly Task[] }, modules: AssignmentSinkModules) {
    this.#nodeId = options.nodeId;
    this.#assignments = initialAssignments(options.tasks);
    this.#modules = modules;
  }

  /** @returns false when the message does not follow the one before: ask for a full set */
  receive(message: AssignmentsMessage): boolean {
    const { worker, networks, log } = this.#modules;
    const changes = message.changes.flatMap((change) => this.#check(change));
    const step = applyAssignments(this.#assignments, { ...message, changes });
    if (step === undefined) return false;
    this.#assignments = step.assignments;
    // Networks first: tasks then see that they wait for something that is under way.
    if (step.isNetworkChanged) {
      networks.apply(message.revision, toNetworkView(step.assignments, this.#nodeId));
    } else {
      networks.confirm(message.revision);
    }
    worker.assign(step.tasks);
    if (message.type === AssignmentsType.COMPLETE) {
      worker.sweep().catch((error: unknown) => {
        log.warn('Could not look for remains of unknown tasks', {}, error);
      });
    }
    return true;
  }

  /** One bad task must not keep the others from this node. */
  #check(change: AssignmentsMessage['changes'][number]): CheckedChange[] {
    const { action, item } = change;
    if (item?.$case !== 'task') return [{ action, item }];
    const { id } = item.value;
    if (!isTaskId(id)) {
      this.#modules.log.error('Refused an assigned task: its id is not valid', { taskId: id });
      return [];
    }
    if (action === AssignmentAction.REMOVE)
      return [{ action, item: { $case: 'task', value: { id } } }];
    try {
      return [{ action, item: { $case: 'task', value: checkTask(item.value) } }];
    } catch (error) {
      this.#modules.log.error('Refused an assigned task', { taskId: id }, error);
      return [];
    }
  }
}
