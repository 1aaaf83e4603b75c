import { describeError, isKind } from '../common/errors.js';

/**
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 3 did not converge, 4 not found. Those of `run` are
 * the container's, so that it says all of its own failures by 125, as docker does.
 */
export const EXIT = { failed: 1, usage: 2, notConverged: 3, notFound: 4, neverRan: 125 } as const;

/** Something was asked for and accepted, but the cluster did not get there. */
export class NotConvergedError extends Error {
  override readonly name = 'NotConvergedError';
}

/** The user's words were wrong; shown with a hint at --help. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A command ran elsewhere and ended with this code (exec). */
export class ExitCodeError extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** What goes to stderr for an error, without a trailing line end; empty for none. */
export function errorText(error: unknown): string {
  if (error instanceof ExitCodeError || isKind(error, 'cancelled')) return '';
  const text = error instanceof NotConvergedError ? error.message : describeError(error);
  return text.includes('\n') ? text : `error: ${text}`;
}

/** @param command the first word after `hatoba` */
export function exitCodeOf(error: unknown, command = ''): number {
  if (error instanceof ExitCodeError) return error.exitCode;
  if (isKind(error, 'cancelled')) return 130;
  if (command === 'run') return EXIT.neverRan;
  if (error instanceof NotConvergedError) return EXIT.notConverged;
  if (error instanceof UsageError) return EXIT.usage;
  if (isKind(error, 'not-found')) return EXIT.notFound;
  return EXIT.failed;
}
