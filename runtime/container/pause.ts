import { HatobaError } from '../../common/errors.js';
import type { Freezer } from '../cgroup/freezer.js';
import type { ContainerRegistry } from './registry.js';

export interface PauseModules {
  registry: ContainerRegistry;
  freezer: Freezer;
}

/** @throws {HatobaError} failed-precondition for one that does not run; deadline */
export async function pauseContainer(
  id: string,
  { registry, freezer }: PauseModules,
): Promise<void> {
  const { record, status } = registry.mustGet(id);
  if (status.status !== 'running') {
    throw new HatobaError(
      'failed-precondition',
      `container ${record.config.name} cannot be paused: it is ${status.status}`,
    );
  }
  await freezer.freeze(record.cgroupPath);
  // It may have ended before it stood still.
  if (registry.get(id)?.status.status !== 'running') return;
  registry.update(id, { status: 'paused' }, 'paused');
}

/** @throws {HatobaError} failed-precondition for one that is not paused */
export function unpauseContainer(id: string, { registry, freezer }: PauseModules): void {
  const { record, status } = registry.mustGet(id);
  if (status.status !== 'paused') {
    throw new HatobaError(
      'failed-precondition',
      `container ${record.config.name} is not paused (${status.status})`,
    );
  }
  freezer.thaw(record.cgroupPath);
  registry.update(id, { status: 'running' }, 'unpaused');
}
