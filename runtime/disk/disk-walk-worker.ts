import { parentPort, workerData } from 'node:worker_threads';
import { invariant } from '../../common/assert.js';
import { walkDisk, type DiskQuestion } from './disk-walk.js';

invariant(parentPort, 'this file runs in a worker thread only');
parentPort.postMessage(walkDisk(workerData as DiskQuestion));
