import type { Service } from '../../../common/model/objects.js';
import { toWord } from '../../../common/model/words.js';
import {
  PublishMode,
  type PortConfig,
  type PortProtocol,
} from '../../../proto/gen/hatoba/v1/types.js';
import { addressesMeet } from './node-ports.js';

/** Where published ports are chosen from when the user names none. */
export const DYNAMIC_PORTS = { first: 30_000, last: 32_767 } as const;

export interface PortHolder {
  readonly serviceId: string;
  readonly serviceName: string;
  readonly port: PortConfig;
}

/**
 * Who publishes which port. An ingress port is taken on every node, so it excludes every other use
 * of its number on the addresses it answers on; two services may publish one port in host mode, as they go to different nodes.
 */
export class PortTable {
  readonly #holders = new Map<string, PortHolder[]>();
  /** Service id → the keys above under which it is found. */
  readonly #keysOf = new Map<string, readonly string[]>();

  /** The first service, other than this one, that the port cannot be published beside. */
  conflict(serviceId: string, port: PortConfig): PortHolder | undefined {
    return this.#holders
      .get(keyOf(port.protocol, port.publishedPort))
      ?.find((h) => h.serviceId !== serviceId && cannotShare(h.port, port));
  }

  claim(service: Pick<Service, 'id' | 'spec'>, port: PortConfig): void {
    if (port.publishedPort === 0) return;
    const key = keyOf(port.protocol, port.publishedPort);
    const holder = { serviceId: service.id, serviceName: service.spec.name, port };
    this.#holders.set(key, [...(this.#holders.get(key) ?? []), holder]);
    this.#keysOf.set(service.id, [...(this.#keysOf.get(service.id) ?? []), key]);
  }

  /** Takes back all that a service has claimed. */
  release(serviceId: string): void {
    for (const key of this.#keysOf.get(serviceId) ?? []) {
      const others = this.#holders.get(key)?.filter((h) => h.serviceId !== serviceId) ?? [];
      if (others.length > 0) this.#holders.set(key, others);
      else this.#holders.delete(key);
    }
    this.#keysOf.delete(serviceId);
  }

  /** A free dynamic port. @param isUsed whether something other than services has a port */
  nextDynamic(
    protocol: PortProtocol,
    isUsed: (protocol: PortProtocol, port: number) => boolean = () => false,
  ): number | undefined {
    for (let port: number = DYNAMIC_PORTS.first; port <= DYNAMIC_PORTS.last; port++) {
      if (!this.#holders.has(keyOf(protocol, port)) && !isUsed(protocol, port)) return port;
    }
    return undefined;
  }
}

function keyOf(protocol: PortProtocol, port: number): string {
  return `${port}/${protocol}`;
}

function cannotShare(a: PortConfig, b: PortConfig): boolean {
  const bothHost = a.publishMode === PublishMode.HOST && b.publishMode === PublishMode.HOST;
  return addressesMeet(a.hostIp, b.hostIp) && !bothHost;
}

/** "8080/tcp", "10.0.0.5:8080/tcp" */
export function portText({ hostIp, publishedPort, protocol }: PortConfig): string {
  return `${hostIp === '' ? '' : `${hostIp}:`}${publishedPort}/${toWord(protocol)}`;
}

/** The ports a service has been given, and those it asks for by number. */
export function portsHeldBy(service: Service): PortConfig[] {
  const asked = service.spec.endpointSpec.ports.filter((p) => p.publishedPort !== 0);
  return [...service.endpoint.ports, ...asked];
}

/** Every published port of the cluster, those of services being removed included. */
export function portTableOf(services: Iterable<Service>): PortTable {
  const table = new PortTable();
  for (const service of services) {
    for (const port of portsHeldBy(service)) table.claim(service, port);
  }
  return table;
}
