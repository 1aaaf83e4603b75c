import { readdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import { endMakers } from '../oci/makers.js';
import type { Crun } from '../oci/crun.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import type { GroupUse } from './group-use.js';
import type { ContainerPaths } from './paths.js';
import { readRecord, readStatus } from './record.js';
import type { ContainerRegistry } from './registry.js';
import type { Teardown } from './teardown.js';

export interface RecoverModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  teardown: Teardown;
  groups: GroupUse;
  snapshotter: Snapshotter;
  crun: Crun;
  clock: Clock;
  log: Logger;
}

/**
 * Takes up the containers an earlier engine left: whole ones as they are (their exits are found by
 * the ExitWatcher afterwards), half-made ones are undone. Starts and stops nothing that is whole.
 */
export async function recoverContainers(modules: RecoverModules): Promise<void> {
  const { paths, registry, teardown, groups, snapshotter, log } = modules;
  for (const id of teardown.listFolders()) {
    const record = readRecord(paths.of(id));
    const status = readStatus(paths.of(id));
    if (record === undefined || status === undefined) {
      await undoHalfMade(id, modules);
      continue;
    }
    groups.enter(dirname(record.cgroupPath));
    // The engine may have been killed between the start and its note of it.
    const wasStarted = status.status === 'created' && isStarted(id, modules);
    registry.add({
      record,
      status: wasStarted
        ? { ...status, status: 'running', startedAtMs: status.startedAtMs ?? record.createdAtMs }
        : status,
    });
  }
  for (const id of readdirSync(paths.exits)) {
    if (registry.get(id) === undefined) rmSync(paths.exitOf(id), { force: true });
  }
  for (const id of await snapshotter.list()) {
    if (registry.get(id) !== undefined) continue;
    await snapshotter.remove(id);
    log.info('Removed writable layer without container', { containerId: id });
  }
}

function isStarted(id: string, { crun }: RecoverModules): boolean {
  return crun.isKnown(id) && !crun.isWaiting(id);
}

async function undoHalfMade(id: string, modules: RecoverModules): Promise<void> {
  const { paths, teardown, groups, log } = modules;
  const record = readRecord(paths.of(id));
  if (record !== undefined) groups.enter(dirname(record.cgroupPath));
  try {
    await endMakers(paths.of(id).bundle, modules.clock);
    await teardown.all(id, record);
    log.info('Removed half-made container', { containerId: id });
  } catch (error) {
    // Its folder stays, so the next start of the engine tries again.
    log.warn('Removing half-made container failed', { containerId: id }, error);
  }
  if (record !== undefined) teardown.leaveGroup(record);
}
