import { Metadata, status as Code, type ServiceError } from '@grpc/grpc-js';
import { describeError, HatobaError, kindOf, type ErrorKind } from '../../common/errors.js';

/** The one table between our kinds and gRPC's codes. */
const CODE_OF: Readonly<Record<ErrorKind, Code>> = {
  'invalid-argument': Code.INVALID_ARGUMENT,
  'not-found': Code.NOT_FOUND,
  'already-exists': Code.ALREADY_EXISTS,
  'failed-precondition': Code.FAILED_PRECONDITION,
  conflict: Code.ABORTED,
  'resource-exhausted': Code.RESOURCE_EXHAUSTED,
  unavailable: Code.UNAVAILABLE,
  deadline: Code.DEADLINE_EXCEEDED,
  cancelled: Code.CANCELLED,
  unauthenticated: Code.UNAUTHENTICATED,
  'permission-denied': Code.PERMISSION_DENIED,
  unimplemented: Code.UNIMPLEMENTED,
  internal: Code.INTERNAL,
};
const KIND_OF: ReadonlyMap<number, ErrorKind> = new Map(
  (Object.entries(CODE_OF) as [ErrorKind, Code][]).map(([kind, code]) => [code, kind]),
);

/** JSON of HatobaError.detail, in a binary header as it may hold any characters. */
const DETAIL_HEADER = 'hatoba-detail-bin';
const MAX_DETAIL_BYTES = 2048;

/** What a gRPC handler hands to its callback, or a stream emits as `error`. */
export function toServiceError(error: unknown): ServiceError {
  const message = describeError(error);
  const metadata = new Metadata();
  if (error instanceof HatobaError && Object.keys(error.detail).length > 0) {
    const detail = Buffer.from(JSON.stringify(error.detail));
    if (detail.length <= MAX_DETAIL_BYTES) metadata.set(DETAIL_HEADER, detail);
  }
  const code = CODE_OF[kindOf(error)];
  return Object.assign(new Error(message), {
    name: 'ServiceError',
    code,
    details: message,
    metadata,
  });
}

/** The error of a failed call as ours, its message kept; what is no gRPC error is wrapped. */
export function fromServiceError(error: unknown): HatobaError {
  if (error instanceof HatobaError) return error;
  if (!isServiceError(error)) {
    return new HatobaError(kindOf(error), describeError(error), { cause: error });
  }
  const detail = detailOf(error);
  return new HatobaError(
    KIND_OF.get(error.code) ?? 'internal',
    error.details === '' ? error.message : error.details,
    // no cause: it is the same message again, behind gRPC's number
    detail === undefined ? {} : { detail },
  );
}

function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'number' &&
    'details' in error &&
    typeof error.details === 'string'
  );
}

function detailOf(error: ServiceError): Record<string, unknown> | undefined {
  const metadata = (error as Partial<ServiceError>).metadata;
  const [bytes] = metadata instanceof Metadata ? metadata.get(DETAIL_HEADER) : [];
  if (!(bytes instanceof Buffer)) return undefined;
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined; // another version's header; the message is enough
  }
}
