import type { HatobaError } from '../../common/errors.js';
import { workerEntry } from '../../common/worker-entry.js';
import type { Conntrack } from '../ports.js';
import { WorkerClient } from '../worker-client.js';

/**
 * The Conntrack port over a worker thread of its own, which starts with the first call. For every
 * answer the kernel looks through its whole table: 10 ms while that is empty, 150 ms for all of
 * 100,000 flows. Containers that start must not wait for it.
 */
export class ConntrackClient implements Conntrack, AsyncDisposable {
  readonly #onFailure: (error: HatobaError) => void;
  #client: Promise<WorkerClient> | undefined;
  /** Namespaces in which something may be open. */
  readonly #lookedInto = new Set<string>();

  /** @param onFailure told once if the thread dies, unasked */
  constructor(onFailure: (error: HatobaError) => void) {
    this.#onFailure = onFailure;
  }

  readonly flows: Conntrack['flows'] = async (filter, netns) =>
    (await this.#lookingInto(netns)).call('conntrack.flows', filter, netns);

  readonly countFlows: Conntrack['countFlows'] = async (filter, netns) =>
    (await this.#lookingInto(netns)).call('conntrack.countFlows', filter, netns);

  readonly removeFlows: Conntrack['removeFlows'] = async (filter, netns) =>
    (await this.#lookingInto(netns)).call('conntrack.removeFlows', filter, netns);

  /** Closes what is open in a namespace about to end; undefined where nothing is. */
  drop(path: string): Promise<void> | undefined {
    if (!this.#lookedInto.delete(path)) return undefined;
    return this.#client?.then((client) => client.call('conntrack.drop', path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#client)?.close();
  }

  #lookingInto(netns: string | undefined): Promise<WorkerClient> {
    if (netns !== undefined) this.#lookedInto.add(netns);
    return this.#started();
  }

  #started(): Promise<WorkerClient> {
    this.#client ??= WorkerClient.start(
      { onExit: () => undefined, onFailure: this.#onFailure },
      workerEntry('../conntrack-worker', import.meta.url),
    ).catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
    return this.#client;
  }
}
