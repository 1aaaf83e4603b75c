import { describeError, HatobaError, isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { ContainerCreateRequest } from '../../proto/gen/hatoba/v1/engine.js';
import { KeyedMutex } from '../../common/keyed-mutex.js';
import type { ContainerConfig, ContainerState, Engine, RestartRule } from '../../runtime/engine.js';
import { attachmentOf, wantedNetwork, type Attachment } from './attachment.js';
import type { AttachmentReports } from './attachment-reports.js';
import type { ClusterNetworks } from './cluster-networks.js';
import { requireAttachment, type ContainerNetworks } from './container-networks.js';
import { checkAutoRemove, requireSpec, toLocalConfig } from './create-config.js';
import { checkName, pickName } from './names.js';
import { refuseTask } from './task-container.js';

export interface LocalContainersModules {
  readonly engine: { containers: Engine['containers']; images: Pick<Engine['images'], 'find'> };
  readonly networks: ContainerNetworks;
  /** Attachable networks of the cluster. */
  readonly cluster: Pick<ClusterNetworks, 'join' | 'ready'>;
  /** What the managers know of those who are on them. */
  readonly reports: Pick<AttachmentReports, 'changed' | 'told' | 'joined'>;
  /** Why the networks of this node are not there; empty when they are. */
  readonly networkWait: () => string;
  /** The containers on this node's network, or their names, have changed. */
  readonly onChange: () => void;
  readonly random: Random;
  readonly log: Logger;
}

type Started = Parameters<Engine['containers']['stop']>[1];

/**
 * The containers of this node alone: the engine's, joined to this node's network. Those of tasks
 * can be looked at through the engine and are refused here.
 *
 * 1. What changes the sandbox of one container runs under its `#mutex`, but for a restart by rule,
 *    during which the engine says "restarting" or "running".
 * 2. A container that has ended for good gives its sandbox back.
 */
export class LocalContainers implements AsyncDisposable {
  readonly #hostname: string;
  readonly #modules: LocalContainersModules;
  readonly #mutex = new KeyedMutex();
  readonly #unsubscribe: () => void;
  readonly #releases = new Set<Promise<void>>();

  constructor(options: { hostname: string }, modules: LocalContainersModules) {
    this.#hostname = options.hostname;
    this.#modules = modules;
    this.#unsubscribe = this.#containers.onEvent(({ id, type, state }) => {
      const mode = attachmentOf(state.config)?.mode;
      if (mode === undefined) return;
      modules.onChange();
      if (mode === 'cluster') modules.reports.changed(id);
      if (type === 'removed' || state.status === 'exited') this.#releaseSoon(id);
    });
  }

  /** Gives back what a crash left: sandboxes of containers that have ended or are gone. */
  async sweep(): Promise<void> {
    for (const id of await this.#modules.networks.attached()) this.#releaseSoon(id);
    await Promise.all(this.#releases);
  }

  /**
   * By name, id or the unique start of an id; for a change, so that a task's is refused.
   * @param verb of the change: "stop"
   * @throws {HatobaError} not-found | invalid-argument; failed-precondition for a task's
   */
  own(reference: string, verb: string): ContainerState {
    const state = this.#containers.find(reference);
    refuseTask(state, verb);
    return state;
  }

  /** @throws {HatobaError} not-found for its image; and as the engine and the networks do */
  async create(
    request: ContainerCreateRequest,
  ): Promise<{ state: ContainerState; warnings: string[] }> {
    const { image } = requireSpec(request);
    if ((await this.#modules.engine.images.find(image)) === undefined) {
      throw new HatobaError(
        'not-found',
        `image "${image}" is not on this node: pull it with "hatoba image pull ${image}"`,
      );
    }
    const id = Buffer.from(this.#modules.random.bytes(32)).toString('hex');
    const name = this.#nameOf(request);
    const warnings: string[] = [];
    try {
      const attachment = await this.#attachmentFor({ id, name }, request, warnings);
      return { state: await this.#createWith(request, { id, name, attachment }), warnings };
    } finally {
      this.#modules.networks.settle(id);
      this.#modules.reports.joined(id);
    }
  }

  async start(reference: string): Promise<ContainerState> {
    const { config } = this.own(reference, 'start');
    const state = await this.#attached(config, () => this.#containers.start(config.id));
    await this.#tell(config);
    return state;
  }

  async restart(reference: string, options: Started): Promise<ContainerState> {
    const { config } = this.own(reference, 'restart');
    const state = await this.#attached(config, () => this.#containers.restart(config.id, options));
    await this.#tell(config);
    return state;
  }

  async remove(
    reference: string,
    { force, volumes }: { force: boolean; volumes: boolean },
  ): Promise<void> {
    const { config } = this.own(reference, 'remove');
    await this.#containers.remove(config.id, { force, keepVolumes: !volumes });
    await this.#release(config.id);
    await this.#tell(config);
  }

  async rename(reference: string, name: string): Promise<ContainerState> {
    const { config } = this.own(reference, 'rename');
    const state = await this.#containers.rename(config.id, checkName(name));
    await this.#tell(config);
    return state;
  }

  async update(
    reference: string,
    change: { limits?: ContainerConfig['limits']; restart?: RestartRule },
  ): Promise<ContainerState> {
    const { config } = this.own(reference, 'update');
    checkAutoRemove(config.autoRemove ?? false, change.restart);
    return this.#containers.update(config.id, change);
  }

  /** Removes those that have ended or were never started, longer than `olderThanMs` ago. */
  async prune(olderThanMs: number, nowMs: number): Promise<{ id: string; sizeBytes: number }[]> {
    const removed: { id: string; sizeBytes: number }[] = [];
    for (const state of this.#containers.list()) {
      const { id } = state.config;
      if (attachmentOf(state.config) === undefined || !isIdle(state)) continue;
      if ((state.finishedAtMs ?? state.createdAtMs) > nowMs - olderThanMs) continue;
      const sizeBytes = await this.#containers.sizeRw(id);
      try {
        await this.remove(id, { force: false, volumes: false });
      } catch (error) {
        if (isKind(error, 'failed-precondition')) continue; // somebody has started it
        throw error;
      }
      removed.push({ id, sizeBytes });
    }
    return removed;
  }

  /** Before the engine starts a container again: its sandbox may have gone with the power. */
  async beforeRestart(config: ContainerConfig): Promise<void> {
    const attachment = attachmentOf(config);
    if (attachment === undefined) return; // a task's: its executor sees to it
    await this.#requireNetworks(attachment);
    await this.#modules.networks.attach(config.id, attachment, config.spec.dnsConfig);
    // somebody may have stopped it meanwhile; who starts it by hand has the mutex until it runs
    if (this.#containers.get(config.id)?.status !== 'restarting') this.#releaseSoon(config.id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    await Promise.all(this.#releases);
  }

  get #containers(): Engine['containers'] {
    return this.#modules.engine.containers;
  }

  #nameOf({ name }: ContainerCreateRequest): string {
    if (name !== '') return checkName(name);
    const taken = new Set(this.#containers.list().map(({ config }) => config.name));
    return pickName(this.#modules.random, (candidate) => taken.has(candidate));
  }

  async #attachmentFor(
    { id, name }: { id: string; name: string },
    request: ContainerCreateRequest,
    warnings: string[],
  ): Promise<Attachment> {
    const network = wantedNetwork(request);
    if (network.mode === 'bridge') return this.#modules.networks.reserve(id, request.ports);
    if (network.mode === 'cluster') {
      const container = { id, name, hostname: request.spec?.hostname ?? '' };
      // first what can be told here at once
      const ports = await this.#modules.networks.ports.reserve(id, request.ports);
      const networks = await this.#modules.cluster.join(container, network.networks);
      return { mode: 'cluster', networks, ports };
    }
    if (network.mode !== 'container') {
      if (request.ports.length > 0) {
        warnings.push(`ports are not published with the network "${network.mode}"`);
      }
      return { mode: network.mode };
    }
    if (request.ports.length > 0) {
      throw new HatobaError(
        'invalid-argument',
        `ports cannot be published with the network of another container: publish them with "${network.container}"`,
      );
    }
    const other = this.#containers.find(network.container);
    if (other.status === 'running' || other.status === 'paused') {
      return { mode: 'container', id: other.config.id };
    }
    throw new HatobaError(
      'failed-precondition',
      `the network of container "${other.config.name}" cannot be joined: it is ${other.status}; start it first`,
    );
  }

  async #createWith(
    request: ContainerCreateRequest,
    made: { id: string; name: string; attachment: Attachment },
  ): Promise<ContainerState> {
    const { id, attachment } = made;
    await this.#requireNetworks(attachment);
    const { networks } = this.#modules;
    return this.#mutex.run(id, async () => {
      const wiring = await networks.attach(id, attachment, request.spec?.dnsConfig);
      try {
        const other =
          attachment.mode === 'container' ? this.#containers.get(attachment.id) : undefined;
        const config = toLocalConfig(request, {
          ...made,
          wiring,
          hostname: this.#hostname,
          ...(other === undefined ? {} : { other: other.config }),
        });
        return await this.#containers.create(config);
      } catch (error) {
        await networks.detach(id);
        throw error;
      }
    });
  }

  /** Runs what starts a container, whose sandbox is there. */
  async #attached(
    config: ContainerConfig,
    run: () => Promise<ContainerState>,
  ): Promise<ContainerState> {
    const attachment = requireAttachment(config);
    await this.#requireNetworks(attachment);
    return this.#mutex.run(config.id, async () => {
      await this.#modules.networks.attach(config.id, attachment, config.spec.dnsConfig);
      try {
        return await run();
      } catch (error) {
        this.#releaseSoon(config.id); // when this is over, if it did not start
        throw error;
      }
    });
  }

  async #requireNetworks(attachment: Attachment): Promise<void> {
    const { mode } = attachment;
    if (mode === 'cluster') return this.#modules.cluster.ready(attachment);
    const wait = mode === 'bridge' || mode === 'none' ? this.#modules.networkWait() : '';
    if (wait !== '') throw new HatobaError('unavailable', wait);
  }

  /** Whoever goes on from here finds the managers knowing, if they can be reached. */
  async #tell(config: ContainerConfig): Promise<void> {
    if (attachmentOf(config)?.mode === 'cluster') await this.#modules.reports.told(config.id);
  }

  #releaseSoon(id: string): void {
    const release = this.#release(id)
      .catch((error: unknown) => {
        const reason = describeError(error);
        this.#modules.log.warn('Could not give back the network of a container', { id, reason });
      })
      .finally(() => this.#releases.delete(release));
    this.#releases.add(release);
  }

  /** Detaches a container unless it runs, may run soon, or is being started. */
  #release(id: string): Promise<void> {
    return this.#mutex.run(id, async () => {
      const status = this.#containers.get(id)?.status;
      if (status === undefined || status === 'exited') await this.#modules.networks.detach(id);
    });
  }
}

function isIdle({ status }: ContainerState): boolean {
  return status === 'exited' || status === 'created';
}
