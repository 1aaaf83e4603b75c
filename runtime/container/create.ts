import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DisposableStack } from '../../common/disposable.js';
import { describeError, errnoOf, HatobaError, kindOf } from '../../common/errors.js';
import { isCommandFailure } from '../core/start-failure.js';
import type { ContainerConfig } from '../engine.js';
import type { GroupUse } from './group-use.js';
import { endRun, makeRun, type RunModules } from './make-run.js';
import type { ContainerPaths } from './paths.js';
import { planContainer, type PlanModules } from './plan-container.js';
import {
  NEW_STATUS,
  writeRecord,
  writeStatus,
  type ContainerEntry,
  type ContainerRecord,
  type ContainerStatus,
} from './record.js';

export interface CreateModules extends RunModules, PlanModules {
  volumes: RunModules['volumes'];
  groups: GroupUse;
}

/**
 * Makes a container up to its waiting process: a list of steps, each with its undo. Its record is on
 * disk before the first step, so that a new engine can undo what a killed one left; its status is
 * written last, and tells that it is whole. What each run needs is made by makeRun.
 * @throws {HatobaError} not-found for the image; invalid-argument; already-exists; and what failed
 */
export async function createContainer(
  config: ContainerConfig,
  modules: CreateModules,
): Promise<ContainerEntry> {
  const { record, chain } = await planContainer(config, modules);
  const { paths, teardown, snapshotter, groups } = modules;
  const undo = new DisposableStack();
  try {
    makeFolders(config.id, paths);
    undo.defer('folder', () => teardown.folder(config.id));
    writeRecord(paths.of(config.id), record);

    undo.defer('snapshot', () => snapshotter.remove(config.id));
    const { idMap } = record;
    await snapshotter.prepare(config.id, chain, idMap === undefined ? {} : { idMap });
    undo.defer('anonymous volumes', () => teardown.volumes(record));
    groups.enter(dirname(record.cgroupPath));
    undo.defer('group', () => teardown.leaveGroup(record));

    undo.defer('run', () => endRun(record, modules));
    const status = { ...NEW_STATUS, ...(await makeFirstRun(record, modules)) };
    writeStatus(paths.of(config.id), status);
    undo.move();
    return { record, status };
  } catch (cause) {
    const error = explainFullDisk(cause, config.id, paths.stateDir);
    await undoAll(undo, error);
    throw error;
  }
}

/**
 * Without its process where the command is not there to be run: that may still be copied into the
 * container, and only a start needs it, as in Docker.
 */
async function makeFirstRun(
  record: ContainerRecord,
  modules: CreateModules,
): Promise<Partial<ContainerStatus>> {
  try {
    return await makeRun(record, { isFirst: true }, modules);
  } catch (cause) {
    const error = describeError(cause);
    if (!isCommandFailure(error)) throw cause;
    await endRun(record, modules);
    return { error };
  }
}

function makeFolders(id: string, paths: ContainerPaths): void {
  const files = paths.of(id);
  try {
    mkdirSync(files.dir, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    throw new HatobaError('already-exists', `container ${id} is on this machine already`, {
      cause: error,
    });
  }
  mkdirSync(files.logDir, { mode: 0o700 });
}

function explainFullDisk(error: unknown, id: string, folder: string): unknown {
  if (!['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')) return error;
  const text = `creating container ${id}: no space left in ${folder}; remove what is not needed`;
  return new HatobaError('resource-exhausted', text, { cause: error });
}

async function undoAll(undo: DisposableStack, cause: unknown): Promise<void> {
  try {
    await undo[Symbol.asyncDispose]();
  } catch (error) {
    throw new HatobaError(
      kindOf(cause),
      `${describeError(cause)}; undoing the creation: ${describeError(error)}`,
      { cause },
    );
  }
}
