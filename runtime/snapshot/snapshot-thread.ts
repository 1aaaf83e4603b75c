import { Worker } from 'node:worker_threads';
import { HatobaError, type ErrorKind } from '../../common/errors.js';
import { workerEntry } from '../../common/worker-entry.js';
import type { IdMap } from '../../linux/ports.js';
import type { LayerSource } from './copy-layers.js';

export type SnapshotJob =
  | {
      readonly type: 'copy';
      readonly layers: readonly LayerSource[];
      readonly target: string;
      readonly idMap: IdMap | undefined;
    }
  | {
      readonly type: 'implied';
      readonly layers: readonly LayerSource[];
      readonly target: string;
    };

export type SnapshotJobResult =
  | { readonly type: 'done'; readonly count: number }
  | { readonly type: 'failed'; readonly kind: ErrorKind; readonly message: string };

/**
 * Does a job in a thread of its own: these jobs are rare, and long enough for what a thread costs.
 * @returns see makeImpliedDirectories; of a copy the number of layers
 */
export async function runSnapshotJob(job: SnapshotJob): Promise<number> {
  const [file, options] = workerEntry('./snapshot-worker', import.meta.url);
  const worker = new Worker(file, { ...options, workerData: job });
  try {
    const result = await new Promise<SnapshotJobResult>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', (code) => {
        reject(new HatobaError('internal', `the snapshot thread ended with code ${code}`));
      });
    });
    if (result.type === 'done') return result.count;
    throw new HatobaError(result.kind, `making ${job.target}: ${result.message}`);
  } finally {
    await worker.terminate();
  }
}
