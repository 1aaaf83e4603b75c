import type { Namespaces } from '../../linux/ports.js';
import type { Repair } from '../core/drift.js';
import { bridgeSysctls, HOST_SYSCTLS } from './host-settings.js';

/** The kernel parameters of the host and of its bridges. */
export class BridgeSettings {
  readonly #namespaces: Namespaces;

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces;
  }

  /**
   * Those of bridges that are new; of all that are there, whatever is missing.
   * @throws {HatobaError} not-found, when one is not there
   */
  async set(bridges: readonly string[]): Promise<void> {
    const all = bridges.map((bridge) => this.#namespaces.setSysctls(bridgeSysctls(bridge)));
    await Promise.allSettled(all);
    await Promise.all(all);
  }

  /** The parameters that are not as they should be, the host's own among them. */
  async differing(bridges: readonly string[]): Promise<[name: string, value: string][]> {
    if (bridges.length === 0) return [];
    const wanted = { ...HOST_SYSCTLS, ...ofBridges(bridges) };
    const actual = await this.#namespaces.sysctls(Object.keys(wanted));
    // one that is not there is that of a bridge that is not there
    return Object.entries(wanted).filter(
      ([name, value]) => actual[name] !== undefined && actual[name] !== value,
    );
  }

  async repair(bridges: readonly string[]): Promise<Repair[]> {
    const differing = await this.differing(bridges);
    await this.#namespaces.setSysctls(Object.fromEntries(differing));
    return differing.map(([name, value]) => ({ change: 'changed', what: `${name} = ${value}` }));
  }
}

function ofBridges(bridges: readonly string[]): Record<string, string> {
  return Object.assign({}, ...bridges.map(bridgeSysctls)) as Record<string, string>;
}
