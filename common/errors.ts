/**
 * The closed set of error kinds: the gRPC status codes Hatoba uses, mapped in proto/wire/status.ts.
 * A message says what is wrong, where, and what to do; it reads well behind "error: ".
 */
export type ErrorKind =
  | 'invalid-argument'
  | 'not-found'
  | 'already-exists'
  | 'failed-precondition'
  | 'conflict'
  | 'resource-exhausted'
  | 'unavailable'
  | 'deadline'
  | 'cancelled'
  | 'unauthenticated'
  | 'permission-denied'
  | 'unimplemented'
  | 'internal';

const RETRYABLE: ReadonlySet<ErrorKind> = new Set(['conflict', 'unavailable', 'deadline']);

/** An error with a kind that callers may act on, and details for logs. */
export class HatobaError extends Error {
  readonly kind: ErrorKind;
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(
    kind: ErrorKind,
    message: string,
    options: { detail?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'HatobaError';
    this.kind = kind;
    this.detail = options.detail ?? {};
  }
}

/** A broken invariant of our own: the process must not go on. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** The kind of any thrown value; `internal` for what is not ours, `cancelled` for aborts. */
export function kindOf(error: unknown): ErrorKind {
  if (error instanceof HatobaError) return error.kind;
  if (error instanceof Error && error.name === 'AbortError') return 'cancelled';
  return 'internal';
}

export function isKind(error: unknown, ...kinds: readonly ErrorKind[]): boolean {
  return kinds.includes(kindOf(error));
}

/** Whether the same call may work later without any change by the user. */
export function isRetryable(error: unknown): boolean {
  return RETRYABLE.has(kindOf(error));
}

/** The `code` of a Node system error ("ENOENT"), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** One line for people: the message and those of its causes, each once. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let e: unknown = error; e !== undefined; e = e instanceof Error ? e.cause : undefined) {
    const text =
      e instanceof AggregateError
        ? [e.message, ...e.errors.map(describeError)].filter((s) => s !== '').join('; ')
        : e instanceof Error
          ? e.message
          : typeof e === 'string'
            ? e
            : JSON.stringify(e);
    if (!parts.some((p) => p.includes(text))) parts.push(text);
  }
  return parts.join(': ');
}

/** Adds where an error happened, keeping its kind. */
export function wrapError(error: unknown, context: string): HatobaError {
  return new HatobaError(kindOf(error), `${context}: ${describeError(error)}`, { cause: error });
}
