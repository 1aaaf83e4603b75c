import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { describeError, isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Task } from '../../common/model/objects.js';
import type { Random } from '../../common/random.js';
import type { NetworkDriver, NetworkState } from '../../overlay-net/driver.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { overlapping, subnetsText, withoutNetworks } from '../local/network-overlap.js';
import { WithdrawnTasks } from './withdrawn-tasks.js';

const RETRY = { baseMs: 200, maxMs: 5000 } as const;

export interface NetworkApplierModules {
  readonly driver: Pick<NetworkDriver, 'apply' | 'leavingDone' | 'endStaleConnections'>;
  /** What this node adds to those networks of the cluster; objects that stay are the very same. */
  readonly localPart: (
    cluster: readonly NetworkConfig[],
  ) => Pick<NetworkState, 'networks' | 'endpoints'>;
  /** Keeps a state on disk before it comes into force; must not throw. */
  readonly keep: (wanted: { revision: number; state: NetworkState }) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The networks in force, or the reason why newer ones are not, have changed. */
  readonly onChange: () => void;
  /** The shown revision has risen. */
  readonly onShown: () => void;
}

interface Wanted {
  readonly revision: number;
  /** Of the cluster alone. */
  readonly state: NetworkState;
  /** Tells what was asked for from what was asked for later. */
  readonly turn: number;
}

/**
 * Brings the newest network state to the driver, one call at a time: states that arrive during a
 * call are skipped but for the last. A state that fails is tried again until it works or a newer
 * one comes. Here alone the networks of the cluster and those of this node meet.
 */
export class NetworkApplier implements AsyncDisposable {
  readonly #modules: NetworkApplierModules;
  readonly #stop = new AbortController();
  #wanted: Wanted | undefined;
  /** The newest state that was asked for, in force or not. */
  #cluster: NetworkState;
  /** That of the cluster's states which is on disk. */
  #kept: NetworkState;
  /** That of the cluster's states which is in force, and without which of its networks. */
  #inForce: { readonly state: NetworkState; readonly leftOut: string } | undefined;
  readonly #withdrawn = new WithdrawnTasks();
  #turn = 0;
  /** The newest turn that is in force. */
  #appliedTurn = 0;
  /** That of the first state of the managers themselves; with it, connections of a former time end. */
  #firstTurn: number | undefined;
  #areStaleEnded = false;
  #appliedNetworks: ReadonlyMap<string, NetworkConfig> = new Map();
  /** Why networks of the cluster are left out, by id. */
  #leftOut: ReadonlyMap<string, string> = new Map();
  #appliedRevision = 0;
  #shownRevision = 0;
  #error = '';
  #needsCluster: boolean;
  #newer = new AbortController();
  #settled: (() => void)[] = [];
  #loop: Promise<void> | undefined;

  /**
   * @param options.needsCluster the networks that tasks of this node are on are not known: without
   *   the cluster's state they would seem unwanted, so nothing is applied before it comes
   */
  constructor(options: { nodeId: string; needsCluster: boolean }, modules: NetworkApplierModules) {
    this.#modules = modules;
    this.#needsCluster = options.needsCluster;
    const { nodeId } = options;
    this.#cluster = { nodeId, networks: [], endpoints: [], services: [], peers: [] };
    this.#kept = this.#cluster; // nothing, which need not be kept
  }

  /**
   * Store revision of the newest assignments whose network part is in force; 0 before the first. By
   * it managers let a task be stopped, so single packets too have left by then who gets nothing new.
   */
  get shownRevision(): number {
    return this.#shownRevision;
  }

  /** The newest state of the cluster's networks; with nothing in it before the first. */
  get clusterState(): NetworkState {
    return this.#cluster;
  }

  /** Asks for `state`, of the cluster's networks, as the managers tell of it now. */
  apply(revision: number, state: NetworkState): void {
    this.resume(revision, state);
    this.#firstTurn ??= this.#turn;
  }

  /** Asks for the state that a former process has kept. */
  resume(revision: number, state: NetworkState): void {
    this.#cluster = state;
    this.#withdrawn.follow(state);
    this.#needsCluster = false;
    this.#want(revision, state);
  }

  /**
   * A task of this node gets nothing new from it any more, whatever the managers' state says until it
   * knows of that. Resolves when that is in force, or could not be brought about.
   */
  async withdraw(taskId: string): Promise<void> {
    if (!this.#withdrawn.add(taskId, this.#cluster)) return;
    this.localChanged();
    const turn = this.#turn;
    while (this.#appliedTurn < turn && this.#isTrying()) await this.#nextTry();
  }

  /** What this node adds has changed. */
  localChanged(): void {
    if (this.#needsCluster) return;
    this.#want(this.#wanted?.revision ?? this.#appliedRevision, this.#cluster);
  }

  /** Resolves when nothing more is to be applied, or the newest could not be. */
  async settled(): Promise<void> {
    while (this.#isTrying()) await this.#nextTry();
  }

  /** Assignments whose network part is that of the state before them. */
  confirm(revision: number): void {
    if (this.#wanted !== undefined) this.#wanted = { ...this.#wanted, revision };
    else this.#raiseApplied(revision);
  }

  /** Why the networks of `task` cannot be used yet, for people; empty when they can. */
  waitOf(task: Task): string {
    const missing = task.networksAttachments.filter((a) => !this.#appliedNetworks.has(a.networkId));
    if (missing.length === 0) return '';
    const names = missing.map((a) => `"${a.networkName}"`).join(', ');
    const [leftOut = ''] = missing.flatMap((a) => this.#leftOut.get(a.networkId) ?? []);
    const reason = leftOut === '' ? this.#error : leftOut;
    const wait = `waiting for network ${names} on this node`;
    return reason === '' ? wait : `${wait}: ${reason}`;
  }

  /** Why a network is not there; empty when it is. */
  reasonFor(networkId: string): string {
    if (this.#appliedNetworks.has(networkId)) return '';
    if (this.#needsCluster) return 'the managers have not told of its networks yet';
    const reason = this.#leftOut.get(networkId) ?? this.#error;
    if (reason !== '') return reason;
    return this.#wanted === undefined
      ? 'the managers tell this node of no such network'
      : 'it is being made';
  }

  /** Driver of an applied network ("overlay", "bridge", "host", "none"). */
  driverOf(networkId: string): string | undefined {
    return this.#appliedNetworks.get(networkId)?.driver;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#newer.abort();
    await this.#loop;
  }

  #isTrying(): boolean {
    return this.#wanted !== undefined && this.#error === '' && !this.#stop.signal.aborted;
  }

  #nextTry(): Promise<void> {
    return new Promise((resolve) => this.#settled.push(resolve));
  }

  #want(revision: number, state: NetworkState): void {
    this.#wanted = { revision, state, turn: ++this.#turn };
    this.#newer.abort();
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
      this.#tellSettled();
    });
  }

  #tellSettled(): void {
    for (const resolve of this.#settled.splice(0)) resolve();
  }

  async #run(): Promise<void> {
    let attempt = 0;
    while (this.#wanted !== undefined && !this.#stop.signal.aborted) {
      const wanted = this.#wanted;
      this.#newer = new AbortController();
      try {
        await this.#keep(wanted);
        const merged = this.#merge(wanted.state);
        this.#forgetOthers(merged);
        await this.#modules.driver.apply(merged);
        attempt = 0;
        this.#applied(wanted, merged);
      } catch (error) {
        attempt++;
        this.#failed(error);
        await this.#pause(attempt);
      }
    }
  }

  /**
   * What the driver is about to take away cannot be used any more, though it may be asked for again
   * by the time the driver is done; nor can what it moves.
   */
  #forgetOthers({ networks }: NetworkState): void {
    const staying = new Map(networks.map((n) => [n.networkId, JSON.stringify(n.subnets)]));
    this.#appliedNetworks = new Map(
      [...this.#appliedNetworks].filter(
        ([id, { subnets }]) => staying.get(id) === JSON.stringify(subnets),
      ),
    );
  }

  async #keep({ revision, state }: Wanted): Promise<void> {
    if (state === this.#kept) return;
    await this.#modules.keep({ revision, state });
    this.#kept = state;
  }

  /** One network of the cluster that would be mistaken for this node's own must not stop the rest. */
  #merge(state: NetworkState): NetworkState {
    const local = this.#modules.localPart(state.networks);
    const leftOut = local.networks.flatMap((own) =>
      overlapping(state.networks, own).map((network) => ({ network, own })),
    );
    this.#leftOut = new Map(
      leftOut.map(({ network, own }) => [
        network.networkId,
        `its subnet ${subnetsText(network)} overlaps ${subnetsText(own)}, where containers of this node alone are: remove them, or give it another subnet`,
      ]),
    );
    const networks = leftOut.map(({ network }) => network);
    const rest = withoutNetworks(state, networks);
    return {
      ...rest,
      networks: [...rest.networks, ...local.networks],
      endpoints: [...this.#withdrawn.applyTo(rest.endpoints), ...local.endpoints],
    };
  }

  #applied(wanted: Wanted, merged: NetworkState): void {
    const { onChange, log } = this.#modules;
    // what this node adds concerns neither tasks nor managers
    const leftOut = [...this.#leftOut.keys()].join();
    const isSame = this.#inForce?.state === wanted.state && this.#inForce.leftOut === leftOut;
    const isNews = this.#error !== '' || !isSame;
    this.#error = '';
    this.#appliedTurn = wanted.turn;
    this.#inForce = { state: wanted.state, leftOut };
    this.#appliedNetworks = new Map(merged.networks.map((n) => [n.networkId, n]));
    if (this.#wanted?.turn === wanted.turn) {
      const { revision } = this.#wanted; // confirm() may have raised it meanwhile
      this.#wanted = undefined;
      this.#raiseApplied(revision);
    } else {
      this.#raiseApplied(wanted.revision);
    }
    log.debug('Applied network state', { revision: this.#appliedRevision });
    this.#tellSettled();
    if (isNews) onChange();
    this.#endStale();
  }

  #raiseApplied(revision: number): void {
    this.#appliedRevision = revision;
    void this.#modules.driver.leavingDone().then(() => {
      if (revision <= this.#shownRevision) return;
      this.#shownRevision = revision;
      this.#modules.onShown();
    });
  }

  #endStale(): void {
    if (this.#areStaleEnded || this.#firstTurn === undefined) return;
    if (this.#appliedTurn < this.#firstTurn) return;
    this.#areStaleEnded = true;
    this.#modules.driver.endStaleConnections().catch((error: unknown) => {
      this.#modules.log.warn('Could not end connections of a former time', {}, error);
    });
  }

  #failed(error: unknown): void {
    const { log, onChange } = this.#modules;
    log.warn('Could not apply the network state', { revision: this.#wanted?.revision }, error);
    this.#error = describeError(error);
    this.#tellSettled();
    onChange();
  }

  async #pause(attempt: number): Promise<void> {
    const { clock, random } = this.#modules;
    try {
      await sleep(clock, backoffMs(attempt, RETRY, random), this.#newer.signal);
    } catch (error) {
      if (!isKind(error, 'cancelled')) throw error;
    }
  }
}
