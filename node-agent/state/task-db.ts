import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Task } from '../../common/model/objects.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';
import { checkTask } from '../../proto/wire/check.js';
import { DRAFT_SUFFIX, replaceFile } from './atomic-file.js';

/**
 * The tasks of this node on disk, each in a file of its own: `<folder>/<task id>.task`, a protobuf
 * Task whose status is the newest that this node has seen. What the agent knows after a crash.
 */
export class TaskDb {
  readonly #folder: string;
  readonly #log: Logger;

  constructor(folder: string, modules: { log: Logger }) {
    this.#folder = folder;
    this.#log = modules.log;
  }

  /**
   * All tasks, in order of their ids. A file that cannot be read is logged and left out: the next
   * full set of assignments brings the task again, and its container is still there.
   */
  async load(): Promise<Task[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const names = (await readdir(this.#folder)).sort();
    const tasks: Task[] = [];
    for (const name of names) {
      const path = join(this.#folder, name);
      if (name.endsWith(DRAFT_SUFFIX)) await rm(path, { force: true });
      if (!name.endsWith(SUFFIX)) continue;
      try {
        tasks.push(decodeTask(await readFile(path), name.slice(0, -SUFFIX.length)));
      } catch (error) {
        this.#log.error('Skipped an unreadable task file', { path }, error);
      }
    }
    return tasks;
  }

  async put(task: Task): Promise<void> {
    await replaceFile(this.#pathOf(task.id), pb.Task.encode(task).finish());
  }

  /** Unknown id: success. */
  async delete(taskId: string): Promise<void> {
    try {
      await rm(this.#pathOf(taskId));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }

  #pathOf(taskId: string): string {
    if (!isTaskId(taskId)) {
      throw new HatobaError('invalid-argument', `"${taskId}" is not a task id`);
    }
    return join(this.#folder, `${taskId}${SUFFIX}`);
  }
}

const SUFFIX = '.task';

/** Whether a task id may become part of a file name. */
export function isTaskId(id: string): boolean {
  return /^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$/.test(id);
}

function decodeTask(bytes: Uint8Array, id: string): Task {
  const task = checkTask(pb.Task.decode(bytes));
  if (task.id !== id) {
    throw new HatobaError('invalid-argument', `holds task "${task.id}" instead of "${id}"`);
  }
  return task;
}
