import type { ErrorKind } from '../../common/errors.js';
import type { UnpackJob, UnpackResult } from './unpack-layer.js';

/** From the engine to its unpacking thread; one job at a time. */
export type UnpackRequest =
  | { readonly type: 'unpack'; readonly job: UnpackJob }
  /** Ends the job that runs; its failure is still told. */
  | { readonly type: 'cancel' }
  | { readonly type: 'kernel-done'; readonly error: ErrorMessage | undefined };

/** From the unpacking thread. System calls that Node lacks are made by the engine's kernel seam. */
export type UnpackMessage =
  | { readonly type: 'progress'; readonly blobBytes: number }
  | { readonly type: 'done'; readonly result: UnpackResult }
  | { readonly type: 'failed'; readonly error: ErrorMessage }
  | { readonly type: 'kernel'; readonly call: KernelCall };

export type KernelCall =
  | {
      readonly call: 'mknod';
      readonly args: readonly [path: string, mode: number, major: number, minor: number];
    }
  | {
      readonly call: 'setXattr';
      readonly args: readonly [path: string, name: string, value: Uint8Array];
    };

/** A HatobaError as it crosses the thread's border. */
export interface ErrorMessage {
  readonly kind: ErrorKind;
  readonly message: string;
}
