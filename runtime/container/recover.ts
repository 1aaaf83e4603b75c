import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.js';
import { describeError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Freezer } from '../cgroup/freezer.js';
import { endMakers } from '../oci/makers.js';
import type { Crun } from '../oci/crun.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import type { GroupUse } from './group-use.js';
import type { ContainerPaths } from './paths.js';
import {
  isEnded,
  readRecord,
  readRemoval,
  readStatus,
  type ContainerEntry,
  type ContainerRecord,
  type ContainerStatus,
} from './record.js';
import type { ContainerRegistry } from './registry.js';
import type { Teardown } from './teardown.js';

export interface RecoverModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  teardown: Teardown;
  groups: GroupUse;
  snapshotter: Snapshotter;
  crun: Crun;
  freezer: Freezer;
  clock: Clock;
  log: Logger;
}

const NO_RESTART = { name: 'no', maximumRetryCount: 0 } as const;

/**
 * Takes up the containers an earlier engine left: whole ones as they are (their exits are found by
 * the ExitWatcher afterwards), half-made ones are undone, half-removed ones
 * removed, and the half-made new run of one that had ended is undone. Starts and stops nothing that is whole.
 */
export async function recoverContainers(modules: RecoverModules): Promise<void> {
  for (const id of modules.teardown.listFolders()) await recoverOne(id, modules);
  await removeStrays(modules);
}

async function recoverOne(id: string, modules: RecoverModules): Promise<void> {
  const { paths, registry, teardown, groups } = modules;
  const record = readRecord(paths.of(id));
  const status = readStatus(paths.of(id));
  if (record !== undefined) groups.enter(dirname(record.cgroupPath));
  if (record !== undefined && status !== undefined && !isBeingRemoved(id, modules)) {
    const entry = { record, status: correct(record, status, modules) };
    registry.add(entry);
    if (isEnded(entry)) await undoRun(entry, modules);
    return;
  }
  const error = await takeAway(id, record, modules);
  if (error !== '' && record !== undefined && status !== undefined) {
    // It is to go: no rule may start it again.
    const config = { ...record.config, restart: NO_RESTART };
    registry.add({
      record: { ...record, config },
      status: { ...status, status: 'exited', error },
    });
  } else if (record !== undefined) {
    teardown.leaveGroup(record);
  }
}

function isBeingRemoved(id: string, { paths }: RecoverModules): boolean {
  return readRemoval(paths.of(id)) !== undefined;
}

/** The engine may have been killed between an act and its note of it. */
function correct(
  record: ContainerRecord,
  status: ContainerStatus,
  { crun, freezer }: RecoverModules,
): ContainerStatus {
  const { id } = record.config;
  if (status.status === 'created' && crun.isKnown(id) && !crun.isWaiting(id)) {
    return { ...status, status: 'running', startedAtMs: status.startedAtMs ?? record.createdAtMs };
  }
  if (status.status === 'running' || status.status === 'paused') {
    return { ...status, status: freezer.isFreezing(record.cgroupPath) ? 'paused' : 'running' };
  }
  return status;
}

/** What is there of a run although the container has ended: its rest, or the start of a new one. */
async function undoRun({ record }: ContainerEntry, modules: RecoverModules): Promise<void> {
  const { paths, teardown, clock, log } = modules;
  const { id } = record.config;
  const { bundle } = paths.of(id);
  if (!existsSync(bundle) && !existsSync(paths.crunOf(id))) return;
  try {
    await endMakers(bundle, clock);
    await teardown.run(id, record);
  } catch (error) {
    // Its next start tries again.
    log.warn('Removing the rest of a container run failed', { containerId: id }, error);
  }
}

/** @returns why it could not be taken away, or ""; what is left is tried again by the next engine */
async function takeAway(
  id: string,
  record: ContainerRecord | undefined,
  { paths, teardown, clock, log }: RecoverModules,
): Promise<string> {
  try {
    await endMakers(paths.of(id).bundle, clock);
    await teardown.all(id, record, readRemoval(paths.of(id)));
    log.info('Removed half-made or half-removed container', { containerId: id });
    return '';
  } catch (error) {
    log.warn('Removing half-made or half-removed container failed', { containerId: id }, error);
    return describeError(error);
  }
}

/** What belongs to no container any more. */
async function removeStrays({ paths, registry, snapshotter, log }: RecoverModules): Promise<void> {
  const strays = (folder: string): readonly string[] =>
    readdirSync(folder)
      .filter((id) => registry.get(id) === undefined)
      .map((id) => `${folder}/${id}`);
  for (const path of [paths.exits, paths.runs, paths.crunRoot].flatMap(strays)) {
    rmSync(path, { recursive: true, force: true });
  }
  for (const id of await snapshotter.list()) {
    if (registry.get(id) !== undefined) continue;
    await snapshotter.remove(id);
    log.info('Removed writable layer without container', { containerId: id });
  }
}
