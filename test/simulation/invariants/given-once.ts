import type { Service, Task } from '../../../common/model/objects.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { PublishMode } from '../../../proto/gen/hatoba/v1/types.js';
import type { Commit } from '../world/truth.js';
import { Violation, type Facts, type Invariant } from './invariant.js';

/** No address of a network and no port of the cluster has two holders. */
export class GivenOnce implements Invariant {
  readonly #holders = new Map<string, string>();
  readonly #held = new Map<string, readonly string[]>();

  check(commit: Commit, _facts: Facts): void {
    for (const { type, object } of commit.changes) {
      if (type === 'delete') this.#hold(object.id, []);
    }
    for (const change of commit.changes) {
      if (change.type === 'delete') continue;
      if (change.kind === 'task') this.#hold(change.object.id, ofTask(change.object));
      if (change.kind === 'service') this.#hold(change.object.id, ofService(change.object));
      if (change.kind === 'network') {
        const { id, ipam } = change.object;
        this.#hold(
          id,
          ipam.map(({ gateway }) => addressKey(id, gateway)),
        );
      }
      if (change.kind === 'attachment') {
        const { id, networkId, address } = change.object;
        this.#hold(id, address === '' ? [] : [addressKey(networkId, address)]);
      }
    }
  }

  #hold(holder: string, things: readonly string[]): void {
    for (const thing of this.#held.get(holder) ?? []) this.#holders.delete(thing);
    this.#held.set(holder, things);
    for (const thing of things) {
      const other = this.#holders.get(thing);
      if (other !== undefined && other !== holder) {
        throw new Violation('given-once', `${thing} has two holders: ${other} and ${holder}`);
      }
      this.#holders.set(thing, holder);
    }
  }
}

function ofTask(task: Task): string[] {
  if (isTerminal(task.status.state)) return [];
  return task.networksAttachments.flatMap(({ networkId, addresses }) =>
    addresses.map((address) => addressKey(networkId, address)),
  );
}

function ofService({ endpoint }: Service): string[] {
  const ports = endpoint.ports.filter((p) => p.publishMode === PublishMode.INGRESS);
  return [
    ...endpoint.virtualIps.map(({ networkId, addr }) => addressKey(networkId, addr)),
    ...ports.map((p) => `port ${p.publishedPort}/${p.protocol}`),
  ];
}

function addressKey(networkId: string, address: string): string {
  return `${networkId} ${address.split('/', 1)[0] ?? ''}`;
}
