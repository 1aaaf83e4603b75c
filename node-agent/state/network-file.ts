import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.js';
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

/** Endpoints come and go by the second; to be a little behind with them does no harm. */
const SAVE_DELAY_MS = 2000;

/**
 * The newest network state on disk, as a COMPLETE AssignmentsMessage without tasks: with it a
 * restarted agent answers names and keeps service addresses although no manager can be reached.
 */
export class NetworkFile implements AsyncDisposable {
  readonly #path: string;
  readonly #nodeId: string;
  readonly #modules: { readonly clock: Clock; readonly log: Logger };
  /** Which networks the file tells of. */
  #savedNetworks: string | undefined;
  #unsaved: KeptNetworks | undefined;
  #cancelTimer: (() => void) | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(options: { path: string; nodeId: string }, modules: { clock: Clock; log: Logger }) {
    this.#path = options.path;
    this.#nodeId = options.nodeId;
    this.#modules = modules;
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
        this.#modules.log.warn(
          'Could not read the kept network state',
          { path: this.#path },
          error,
        );
      }
      return undefined;
    }
  }

  /**
   * To be awaited before `kept` comes into force. A change of the networks themselves is on disk
   * when it resolves: a restart must not take away a network that containers are on. All else
   * follows soon. Failing is logged: the networks work without.
   */
  async keep(kept: KeptNetworks): Promise<void> {
    this.#unsaved = kept;
    if (networksOf(kept) !== this.#savedNetworks) {
      await this.#save();
      return;
    }
    this.#cancelTimer ??= this.#modules.clock.setTimer(SAVE_DELAY_MS, () => void this.#save()); // logs its failures
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#save();
  }

  #save(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#saving = this.#saving.then(() => this.#write());
    return this.#saving;
  }

  async #write(): Promise<void> {
    const kept = this.#unsaved;
    if (kept === undefined) return;
    this.#unsaved = undefined;
    const message: AssignmentsMessage = {
      type: AssignmentsType.COMPLETE,
      appliesTo: '',
      resultsIn: '',
      revision: kept.revision,
      changes: toChanges(kept.state),
    };
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await replaceFile(this.#path, AssignmentsMessage.encode(message).finish());
      this.#savedNetworks = networksOf(kept);
    } catch (error) {
      this.#modules.log.warn('Could not keep the network state', { path: this.#path }, error);
    }
  }
}

function networksOf({ state }: KeptNetworks): string {
  return JSON.stringify(state.networks);
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
