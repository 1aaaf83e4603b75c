import { parentPort, workerData } from 'node:worker_threads';
import { invariant } from '../../common/assert.js';
import { describeError, errnoOf, kindOf } from '../../common/errors.js';
import { copyLayers } from './copy-layers.js';
import { makeImpliedDirectories } from './implied-directories.js';
import type { SnapshotJob, SnapshotJobResult } from './snapshot-thread.js';

/** A thread that does one job and ends. */
function run(job: SnapshotJob): SnapshotJobResult {
  try {
    if (job.type === 'implied') {
      return { type: 'done', count: makeImpliedDirectories(job.layers, job.target) };
    }
    copyLayers(job.layers, job.target, job.idMap);
    return { type: 'done', count: job.layers.length };
  } catch (error) {
    const isFull = ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '');
    const kind = isFull ? 'resource-exhausted' : kindOf(error);
    return { type: 'failed', kind, message: describeError(error) };
  }
}

invariant(parentPort, 'this file runs in a worker thread only');
parentPort.postMessage(run(workerData as SnapshotJob));
