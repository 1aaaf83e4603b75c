import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import {
  AssignmentAction,
  AssignmentsMessage,
  AssignmentsType,
  type AssignmentChange,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import {
  applyAssignments,
  initialAssignments,
  toNetworkView,
  type NetworkView,
} from '../core/assignment-diff.js';
import { replaceFile } from './atomic-file.js';

export interface KeptNetworks {
  readonly revision: number;
  readonly state: NetworkView;
}

/**
 * The newest network state on disk, as a COMPLETE AssignmentsMessage without tasks: with it a
 * restarted agent answers names and keeps service addresses although no manager can be reached.
 */
export class NetworkFile {
  readonly #path: string;
  readonly #nodeId: string;
  readonly #log: Logger;

  constructor(options: { path: string; nodeId: string }, modules: { log: Logger }) {
    this.#path = options.path;
    this.#nodeId = options.nodeId;
    this.#log = modules.log;
  }

  /** @returns undefined when there is none, or none that can be read */
  async load(): Promise<KeptNetworks | undefined> {
    try {
      const message = AssignmentsMessage.decode(await readFile(this.#path));
      const changes = message.changes.flatMap(({ action, item }) =>
        item?.$case === 'task' ? [] : [{ action, item }],
      );
      const step = applyAssignments(initialAssignments(), { ...message, changes });
      if (step === undefined) return undefined;
      return { revision: message.revision, state: toNetworkView(step.assignments, this.#nodeId) };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') {
        this.#log.warn('Could not read the kept network state', { path: this.#path }, error);
      }
      return undefined;
    }
  }

  /** Failing to keep it is logged: the networks work without. */
  async save({ revision, state }: KeptNetworks): Promise<void> {
    const message: AssignmentsMessage = {
      type: AssignmentsType.COMPLETE,
      appliesTo: '',
      resultsIn: '',
      revision,
      changes: toChanges(state),
    };
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await replaceFile(this.#path, AssignmentsMessage.encode(message).finish());
    } catch (error) {
      this.#log.warn('Could not keep the network state on disk', { path: this.#path }, error);
    }
  }
}

function toChanges(state: NetworkView): AssignmentChange[] {
  const items: NonNullable<AssignmentChange['item']>[] = [
    ...state.networks.map((value) => ({ $case: 'network', value }) as const),
    ...state.endpoints.map((value) => ({ $case: 'endpoint', value }) as const),
    ...state.services.map((value) => ({ $case: 'service', value }) as const),
    ...state.peers.map((value) => ({ $case: 'peer', value }) as const),
  ];
  return items.map((item) => ({ action: AssignmentAction.UPDATE, item }));
}
