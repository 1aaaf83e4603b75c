import { formatDurationMs } from '../../../common/duration.js';
import type { Service, Task } from '../../../common/model/objects.js';
import { taskName } from '../../../common/model/task-place.js';
import { toWord } from '../../../common/model/words.js';
import type { UpdateConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { progressDeadlineMs } from './update-progress.js';
import { isAlive } from './worth.js';
import { isRollback } from './update-status.js';

/** Why tasks come and go with an update. */
export function causeOfUpdate(service: Service): string {
  return `${isRollback(service) ? 'rollback' : 'update'} to revision ${service.specVersion}`;
}

/** "due to failure or early termination of task web.1.…: no such image": why an update stops. */
export function causeOfStop(failed: Task, config: UpdateConfig): string {
  const name = taskName(failed);
  if (isAlive(failed)) {
    const { err, message, state } = failed.status;
    const deadline = formatDurationMs(progressDeadlineMs(config));
    return `as task ${name} did not come up in ${deadline}: ${err || message || toWord(state)}`;
  }
  return `due to failure or early termination of task ${name}: ${reasonOf(failed, config)}`;
}

function reasonOf({ status }: Task, config: UpdateConfig): string {
  const { err, state, containerStatus, runningAtMs } = status;
  if (err !== '') return err;
  const code =
    containerStatus.exitCode === undefined ? '' : ` with exit code ${containerStatus.exitCode}`;
  const when =
    runningAtMs === 0
      ? 'before it ran'
      : `within the monitor period of ${formatDurationMs(config.monitorMs)}`;
  return `${toWord(state)}${code} ${when}`;
}
