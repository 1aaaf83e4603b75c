import type { Clock } from '../../common/clock.js';
import { AllocationState } from '../core/allocator/allocation-state.js';
import { SchedulerState } from '../core/scheduler/state.js';
import type { Change } from '../core/snapshot.js';
import type { View, ViewChange } from '../view/view.js';

/** A net under mistakes. */
const RENEW_MS = 300_000;

/** What of the changes of a plan shows in the ledger since it was made. */
export interface GivenOut {
  readonly allocated?: readonly Change[];
  readonly scheduled?: readonly Change[];
}

/**
 * What the loops of one term share: who has which address, port and room on a node, stored or given
 * out a moment ago. Several loops give at once, each by a plan that is made in one go (no await) and
 * shows here at once, so that the next plan rests on it while this one is being written.
 *
 * An object that the view shows anew is what counts from then on: either it is what was written, or
 * another has written it and the write under way will meet a conflict. What met a conflict is taken
 * back to what is stored. After a write of unknown outcome nothing is taken back: the term ends.
 */
export class Ledger {
  readonly #view: View;
  #allocation: AllocationState;
  #scheduler: SchedulerState;
  #underWay = 0;
  readonly #onTakenBack = new Set<() => void>();

  /** @param view as the loops see it */
  constructor(view: View) {
    this.#view = view;
    this.#allocation = AllocationState.of(view);
    this.#scheduler = SchedulerState.of(view);
  }

  get allocation(): AllocationState {
    return this.#allocation;
  }

  get scheduler(): SchedulerState {
    return this.#scheduler;
  }

  /** Follows the view from now on. @returns what ends that */
  start(clock: Clock): () => void {
    const unwatch = this.#view.onChange((changes) => {
      for (const change of changes) this.#follow(change);
    });
    let cancelTimer = (): void => undefined;
    const renewLater = (): void => {
      cancelTimer = clock.setTimer(RENEW_MS, () => {
        this.#renew();
        renewLater();
      });
    };
    renewLater();
    return () => {
      unwatch();
      cancelTimer();
    };
  }

  /** Begins anew from what is stored; not while anything is being written. */
  #renew(): void {
    if (this.#underWay > 0) return;
    this.#allocation = AllocationState.of(this.#view, this.#allocation.addresses.cursors());
    this.#scheduler = SchedulerState.of(this.#view);
  }

  /** Calls when something may be had that was given out and not written. @returns what ends it */
  onTakenBack(listener: () => void): () => void {
    this.#onTakenBack.add(listener);
    return () => {
      this.#onTakenBack.delete(listener);
    };
  }

  /**
   * Writes what was given out, and takes back what was not written.
   * @param write ends when the view shows what came of it, well or not; else the term is over
   * @param term aborts when it is over
   */
  async writing<T>(given: GivenOut, write: () => Promise<T>, term: AbortSignal): Promise<T> {
    this.#underWay++;
    try {
      return await write(); // and the view shows all of it
    } catch (error) {
      if (!term.aborted) {
        this.#settle(given);
        this.#tellWhoWaits(given);
      }
      throw error;
    } finally {
      this.#underWay--;
    }
  }

  /** The loop that gave tries again by itself; those that wait for what the orchestrator gave do not. */
  #tellWhoWaits({ allocated = [], scheduled = [] }: GivenOut): void {
    if (allocated.length === 0 || scheduled.length === 0) return;
    for (const listener of [...this.#onTakenBack]) listener();
  }

  #settle({ allocated = [], scheduled = [] }: GivenOut): void {
    for (const change of allocated) this.#settleAllocated(change);
    for (const { object } of scheduled) {
      const stored = this.#view.task(object.id);
      if (stored === undefined) this.#scheduler.deleteTask(object.id);
      else this.#scheduler.putTask(stored);
    }
  }

  #settleAllocated({ kind, object: { id } }: Change): void {
    if (kind === 'task') {
      const stored = this.#view.task(id);
      if (stored === undefined) this.#allocation.deleteTask(id);
      else this.#allocation.putTask(stored);
    } else if (kind === 'service') {
      const stored = this.#view.service(id);
      if (stored === undefined) this.#allocation.deleteService(id);
      else this.#allocation.putService(stored);
    } else if (kind === 'attachment') {
      const stored = this.#view.attachment(id);
      if (stored === undefined) this.#allocation.deleteAttachment(id);
      else this.#allocation.putAttachment(stored);
    }
  }

  #follow(change: ViewChange): void {
    const isGone = change.type === 'delete';
    const { id } = change.object;
    switch (change.kind) {
      case 'task':
        if (isGone) this.#forgetTask(id);
        else {
          this.#allocation.putTask(change.object);
          this.#scheduler.putTask(change.object);
        }
        return;
      case 'node':
        if (isGone) this.#scheduler.deleteNode(id);
        else this.#scheduler.putNode(change.object);
        return;
      case 'service':
        if (isGone) this.#allocation.deleteService(id);
        else this.#allocation.putService(change.object);
        return;
      case 'attachment':
        if (isGone) this.#allocation.deleteAttachment(id);
        else this.#allocation.putAttachment(change.object);
        return;
      case 'network':
        if (isGone) this.#allocation.deleteNetwork(id);
        else this.#allocation.putNetwork(change.object);
        return;
      default: // holds nothing
    }
  }

  #forgetTask(id: string): void {
    this.#allocation.deleteTask(id);
    this.#scheduler.deleteTask(id);
  }
}
