import type { Service, Task, TaskSpec } from '../../../common/model/objects.js';
import { PublishMode, TaskState, type PortConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { equalData } from '../equal.js';
import { fitsPlacement } from '../scheduler/constraint.js';
import type { Snapshot } from '../snapshot.js';
import { hostPortsOf } from './new-task.js';

interface Verdict {
  sameSpec: boolean;
  samePlacement: boolean;
}

/**
 * Finds the tasks that a rolling update has to replace ("dirty"). What counts is what a task was
 * made of, not the number of its spec: scaling, labels of the service or another published port
 * make no task dirty. A change of placement alone spares the tasks whose node still fits.
 */
export class SpecComparison {
  readonly #snapshot: Snapshot;
  readonly #service: Service;
  readonly #hostPorts: readonly PortConfig[];
  readonly #needsIngress: boolean;
  /** Tasks of one spec version are equal, so each version is compared once. */
  readonly #verdicts = new Map<number, Verdict>();

  constructor(snapshot: Snapshot, service: Service) {
    this.#snapshot = snapshot;
    this.#service = service;
    this.#hostPorts = hostPortsOf(service);
    this.#needsIngress = publishesIngress(service);
  }

  isDirty(task: Task): boolean {
    if (task.specVersion === this.#service.specVersion) return false;
    const verdict = this.#verdictOf(task);
    if (!verdict.sameSpec) return true;
    if (!verdict.samePlacement && !this.#stillFits(task)) return true;
    return this.#needsIngress && this.#lacksIngress(task);
  }

  /** Whether all that the task was made of, but for where it may be, is what the service asks for. */
  hasSameTemplate(task: Task): boolean {
    return task.specVersion === this.#service.specVersion || this.#verdictOf(task).sameSpec;
  }

  #verdictOf(task: Task): Verdict {
    const known = this.#verdicts.get(task.specVersion);
    if (known !== undefined) return known;
    const wanted = this.#service.spec.taskTemplate;
    const verdict = {
      sameSpec:
        equalData(withoutPlacement(task.spec), withoutPlacement(wanted)) &&
        equalData(task.hostPorts, this.#hostPorts),
      samePlacement: equalData(task.spec.placement, wanted.placement),
    };
    this.#verdicts.set(task.specVersion, verdict);
    return verdict;
  }

  #stillFits(task: Task): boolean {
    const node = this.#snapshot.node(task.nodeId);
    return node !== undefined && fitsPlacement(node, this.#service.spec.taskTemplate.placement);
  }

  #lacksIngress(task: Task): boolean {
    return (
      task.status.state !== TaskState.NEW && // its addresses are still to be given
      !task.networksAttachments.some(
        (a) => this.#snapshot.network(a.networkId)?.spec.ingress === true,
      )
    );
  }
}

/** Whether the service answers on every node of the cluster, by the ingress network. */
export function publishesIngress(service: Service): boolean {
  return service.spec.endpointSpec.ports.some((p) => p.publishMode === PublishMode.INGRESS);
}

function withoutPlacement(spec: TaskSpec): Omit<TaskSpec, 'placement'> & { placement: undefined } {
  return { ...spec, placement: undefined };
}
