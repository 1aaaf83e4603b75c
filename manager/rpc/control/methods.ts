import { HatobaError } from '../../../common/errors.js';
import type { Random } from '../../../common/random.js';
import type { ControlService } from '../../../proto/gen/hatoba/v1/control.js';
import type { Implementation } from '../../../proto/wire/service.js';
import { problemsError, type Problem } from '../../core/validate/problem.js';
import type { OwnManager } from '../node-registry.js';
import type { ClusterAccess } from '../write-plan.js';

/** What the dispatcher of this manager knows of the nodes' networks. */
export interface NetworkProgress {
  /** Store revision of the network state that the kernel of a node connected here shows. */
  appliedNetworkRevision(nodeId: string): number | undefined;
  /** What an order for the task waits for, for people; empty when it waits for nothing. */
  networkWaitOf(taskId: string): string;
}

/** What the methods of the control API work with. */
export interface ControlModules {
  readonly networks: NetworkProgress;
  readonly cluster: ClusterAccess;
  readonly own: OwnManager;
  readonly random: Random;
}

/** Some of the control API's methods: those of one noun. */
export type ControlMethods<K extends keyof typeof ControlService> = Pick<
  Implementation<typeof ControlService>,
  K
>;

/**
 * Optimistic concurrency: `wanted` is the version the user looked at, 0 = whatever there is.
 * @throws {HatobaError} conflict
 */
export function checkVersion(what: string, present: number, wanted: number): void {
  if (wanted === 0 || wanted === present) return;
  throw new HatobaError(
    'conflict',
    `${what} was changed meanwhile (version ${present}, not ${wanted}): look at it again and retry`,
  );
}

/** @throws {HatobaError} with all problems, one per line, each with where it is */
export function refuseProblems(problems: readonly Problem[]): void {
  if (problems.length > 0) throw problemsError(problems);
}

/** @throws {HatobaError} invalid-argument when a message lacks a part */
export function present<T>(value: T | undefined, path: string): T {
  if (value !== undefined) return value;
  throw new HatobaError('invalid-argument', `${path} is missing`);
}
