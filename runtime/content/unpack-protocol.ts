import type { ErrorKind } from '../../common/errors.js';
import type { UnpackJob, UnpackResult } from './unpack-layer.js';

/** From the engine to its unpacking thread; one job at a time. */
export type UnpackRequest =
  | { readonly type: 'unpack'; readonly job: UnpackJob }
  /** Ends the job that runs; its failure is still told. */
  | { readonly type: 'cancel' };

/** From the unpacking thread. */
export type UnpackMessage =
  | { readonly type: 'progress'; readonly blobBytes: number }
  | { readonly type: 'done'; readonly result: UnpackResult }
  | { readonly type: 'failed'; readonly error: ErrorMessage };

/** A HatobaError as it crosses the thread's border. */
export interface ErrorMessage {
  readonly kind: ErrorKind;
  readonly message: string;
}
