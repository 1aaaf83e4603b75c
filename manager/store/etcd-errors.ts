import {
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCInvalidArgumentError,
  GRPCNotFoundError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
} from 'etcd3';
import { describeError, HatobaError, type ErrorKind } from '../../common/errors.js';

const KINDS: readonly [new (...args: never[]) => Error, ErrorKind][] = [
  [EtcdLeaseInvalidError, 'not-found'],
  [GRPCNotFoundError, 'not-found'],
  [GRPCInvalidArgumentError, 'invalid-argument'],
  [GRPCResourceExhastedError, 'resource-exhausted'],
  [EtcdPermissionDeniedError, 'permission-denied'],
  [GRPCUnauthenticatedError, 'unauthenticated'],
];

/**
 * An error of the etcd client as ours. Everything that is not clearly an answer of etcd counts as
 * unavailable: the outcome of the call is not known.
 */
export function fromEtcdError(error: unknown): HatobaError {
  if (error instanceof HatobaError) return error;
  const kind = KINDS.find(([type]) => error instanceof type)?.[1] ?? 'unavailable';
  return new HatobaError(kind, describeError(error), { cause: error });
}
