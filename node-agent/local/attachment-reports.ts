import type { Clock } from '../../common/clock.js';
import { isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { shortId } from '../../common/model/ids.js';
import { Mutex } from '../../common/mutex.js';
import type { Random } from '../../common/random.js';
import { WorkQueue } from '../../common/workqueue.js';
import type { AttachContainerResponse } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { NetworkJoin } from '../../proto/gen/hatoba/v1/engine.js';
import type { Containers, ContainerState } from '../../runtime/engine.js';
import type { AttachmentCalls } from '../session/attachment-calls.js';
import { attachmentOf, type ClusterAttachment } from './attachment.js';
import { addressOf } from '../../overlay-net/core/ipam.js';

export interface AttachmentReportsModules {
  readonly managers: AttachmentCalls;
  readonly containers: Pick<Containers, 'get' | 'list'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A container that is about to be made, as the managers are to know it. */
export interface NewContainer {
  readonly id: string;
  readonly name: string;
  /** Empty: its id. */
  readonly hostname: string;
}

/** Stands for all containers: those that are not there any more are forgotten. */
const ALL = '';

/**
 * Keeps what the managers know of this node's containers on networks of the cluster equal to what
 * there is: that they are there, their names, whether they run. It is level-triggered: what could
 * not be told is told when a manager is there again.
 */
export class AttachmentReports implements AsyncDisposable {
  readonly #modules: AttachmentReportsModules;
  readonly #queue: WorkQueue;
  readonly #run: Promise<void>;
  /** Ids of containers that are being made: they have addresses, but are not there yet. */
  readonly #joining = new Set<string>();
  /** Calls one after the other: what "keep" does not name must not be attached meanwhile. */
  readonly #calls = new Mutex();
  /** What was told last, by container; telling it again would change nothing. */
  readonly #told = new Map<string, string>();
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(modules: AttachmentReportsModules) {
    this.#modules = modules;
    this.#queue = new WorkQueue(modules, { baseDelayMs: 200, maxDelayMs: 10_000 });
    this.#run = this.#work();
  }

  /** A manager can be called from now on: it may have missed anything. */
  sessionOpened(): void {
    this.#told.clear();
    this.#queue.add(ALL);
  }

  /** A container, or its name or state, has changed. */
  changed(id: string): void {
    this.#queue.add(id);
  }

  /** Resolves once the managers know of a container as it is now, or cannot be told now. */
  async told(id: string): Promise<void> {
    const known = new Promise<void>((resolve) => {
      this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), resolve]);
    });
    this.#queue.add(id);
    await known;
  }

  /**
   * An address for a container that is about to be made; `joined` must follow.
   * @throws {HatobaError} as the managers do
   */
  async join(container: NewContainer, wanted: NetworkJoin): Promise<AttachContainerResponse> {
    this.#joining.add(container.id);
    return this.#calls.run(() =>
      this.#modules.managers.attach({
        containerId: container.id,
        containerName: container.name,
        network: wanted.network,
        aliases: aliasesOf(container, wanted.aliases),
        address: wanted.ipAddress,
        active: false,
      }),
    );
  }

  /** The container is there, or will not come. */
  joined(id: string): void {
    if (this.#joining.delete(id)) this.#queue.add(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue.close();
    await this.#run;
    for (const id of [...this.#waiting.keys()]) {
      for (const resolve of this.#takeWaiting(id)) resolve();
    }
  }

  async #work(): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined) return;
      const waiting = this.#takeWaiting(key); // who asks later waits for the next turn
      try {
        if (key === ALL) await this.#keep();
        else await this.#tell(key);
        this.#queue.forget(key);
      } catch (error) {
        this.#failed(key, error);
      } finally {
        this.#queue.done(key);
        for (const resolve of waiting) resolve();
      }
    }
  }

  #failed(key: string, error: unknown): void {
    const { log, managers } = this.#modules;
    if (!isKind(error, 'unavailable', 'deadline', 'cancelled')) {
      log.warn('The managers refuse what is told of a container', { containerId: key }, error);
    }
    if (managers.isConnected()) this.#queue.addRateLimited(key); // else a new session asks for all
  }

  async #keep(): Promise<void> {
    await this.#calls.run(() => {
      // as of now: who was being made before this turn came may be there by now
      const ids = new Set([...this.#present(), ...this.#joining]);
      return this.#modules.managers.keep([...ids].sort());
    });
    for (const id of this.#present()) this.#queue.add(id);
  }

  #present(): string[] {
    const states = this.#modules.containers.list().filter(isOnCluster);
    return states.map(({ config }) => config.id);
  }

  async #tell(id: string): Promise<void> {
    const state = this.#modules.containers.get(id);
    const attachment = state === undefined ? undefined : attachmentOf(state.config);
    if (state !== undefined && attachment?.mode === 'cluster') {
      await this.#tellOf(state, attachment);
    } else if (state === undefined && !this.#joining.has(id)) {
      await this.#calls.run(() => this.#modules.managers.detach(id));
      this.#told.delete(id);
    }
  }

  async #tellOf({ config, status }: ContainerState, attachment: ClusterAttachment): Promise<void> {
    const { id: containerId, name, spec } = config;
    const active = status === 'running' || status === 'paused';
    const news = JSON.stringify([name, active]);
    if (this.#told.get(containerId) === news) return;
    for (const { networkId, address, aliases } of attachment.networks) {
      const request = {
        containerId,
        containerName: name,
        network: networkId,
        aliases: aliasesOf({ id: containerId, name, hostname: spec.hostname }, aliases),
        address: addressOf(address),
        active,
      };
      await this.#calls.run(() => this.#modules.managers.attach(request));
    }
    this.#told.set(containerId, news);
  }

  #takeWaiting(id: string): (() => void)[] {
    const waiting = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    return waiting;
  }
}

/** A container is found by the start of its id and by its host name, too, as with Docker. */
function aliasesOf({ id, hostname }: NewContainer, aliases: readonly string[]): string[] {
  return [...new Set([shortId(id), hostname, ...aliases])].filter((alias) => alias !== '');
}

function isOnCluster({ config }: ContainerState): boolean {
  return attachmentOf(config)?.mode === 'cluster';
}
