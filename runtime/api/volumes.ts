import type { Volume } from '../../proto/gen/hatoba/v1/engine.js';
import type { Pruned } from './images.js';

export type { Volume };

/** Named and anonymous volumes of the driver "local": folders of this machine. */
export interface EngineVolumes {
  /**
   * Makes a volume; one that is there with the same driver, options and labels is success.
   * @param name empty = a random one
   * @param options.driverOpts as Docker's local driver: type, device, o (bind, tmpfs, nfs)
   * @throws {HatobaError} invalid-argument; already-exists when it is there but different
   */
  create(
    name: string,
    options: {
      driver?: string;
      labels?: Record<string, string>;
      driverOpts?: Record<string, string>;
    },
  ): Promise<Volume>;
  list(): Promise<Volume[]>;
  /**
   * @param options.size counts the disk it takes, too
   * @throws {HatobaError} not-found
   */
  inspect(name: string, options?: { size?: boolean }): Promise<Volume>;
  /** @throws {HatobaError} not-found unless `force`; failed-precondition naming its containers */
  remove(name: string, options?: { force?: boolean }): Promise<void>;
  /** Removes anonymous volumes (`all`: any) that no container has. */
  prune(options: { all?: boolean }): Promise<Pruned>;
}
