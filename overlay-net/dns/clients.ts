import type { SandboxConfig } from '../core/network-state.js';
import { addressOf } from '../core/ipam.js';

/** A container, or this host itself. */
export interface Client {
  /** Its networks, in its order. */
  networks: readonly string[];
  /** Resolvers of its own for foreign names, in place of the host's. */
  upstreams?: readonly string[];
}

/** Sandboxes by each of their addresses. */
export class Clients {
  /** The last one is who has the address now: the others are about to go. */
  readonly #byAddress = new Map<string, { id: string; client: Client }[]>();

  at(address: string): Client | undefined {
    return this.#byAddress.get(address)?.at(-1)?.client;
  }

  add({ id, attachments, dns }: SandboxConfig): void {
    const client = { networks: attachments.map((a) => a.networkId), ...dns };
    for (const address of addressesOf(attachments)) {
      this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), { id, client }]);
    }
  }

  remove({ id, attachments }: SandboxConfig): void {
    for (const address of addressesOf(attachments)) {
      const left = (this.#byAddress.get(address) ?? []).filter((c) => c.id !== id);
      if (left.length === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, left);
    }
  }
}

function addressesOf(attachments: SandboxConfig['attachments']): string[] {
  return attachments.map(({ address }) => addressOf(address));
}
