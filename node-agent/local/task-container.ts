import { HatobaError } from '../../common/errors.js';
import type { ContainerConfig, ContainerState } from '../../runtime/engine.js';
import {
  TASK_ID_LABEL,
  TASK_NAME_LABEL,
  SERVICE_NAME_LABEL,
} from '../executor/container-config.js';

/** Whether a container runs a task of the cluster: then it is the cluster's, not a local user's. */
export function isTaskContainer({ id, labels }: ContainerConfig): boolean {
  return labels[TASK_ID_LABEL] === id;
}

/** "web.1", as in `service ps`; empty for a container that is no task's. */
export function taskNameOf(config: ContainerConfig): string {
  if (!isTaskContainer(config)) return '';
  const name = config.labels[TASK_NAME_LABEL] ?? config.name;
  return name.endsWith(`.${config.id}`) ? name.slice(0, -config.id.length - 1) : name;
}

/**
 * @param verb what is asked for: "stop"
 * @throws {HatobaError} failed-precondition, saying what to do instead
 */
export function refuseTask({ config }: ContainerState, verb: string): void {
  if (!isTaskContainer(config)) return;
  const service = config.labels[SERVICE_NAME_LABEL] ?? '';
  const advice =
    service === ''
      ? 'the cluster decides over it'
      : `use "hatoba service scale ${service}=N", "hatoba service update ${service}" or "hatoba service rm ${service}"`;
  throw new HatobaError(
    'failed-precondition',
    `cannot ${verb} container "${config.name}": it runs task ${taskNameOf(config)} of the cluster; ${advice}`,
  );
}
