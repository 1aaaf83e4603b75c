import { HatobaError } from '../../common/errors.js';
import { checkVolumeName } from '../core/volume-options.js';
import type { EngineVolumes, Pruned, Volume } from '../engine.js';
import type { CopyThreads } from '../files/copy-threads.js';
import type { VolumeRecord } from './volume-record.js';
import type { Volumes } from './volumes.js';

export interface EngineVolumesModules {
  volumes: Volumes;
  threads: Pick<CopyThreads, 'measure'>;
}

/** The volumes of an engine as its users see them; see the port for the contract. */
export class LocalVolumes implements EngineVolumes {
  readonly #modules: EngineVolumesModules;

  constructor(modules: EngineVolumesModules) {
    this.#modules = modules;
  }

  async create(
    name: string,
    options: {
      driver?: string;
      labels?: Record<string, string>;
      driverOpts?: Record<string, string>;
    },
  ): Promise<Volume> {
    const { driver = '', labels = {}, driverOpts = {} } = options;
    if (driver !== '' && driver !== 'local') {
      throw new HatobaError(
        'invalid-argument',
        `there is no volume driver "${driver}"; only "local" is known`,
      );
    }
    const { volumes } = this.#modules;
    const anonymous = name === '';
    const own = anonymous ? volumes.anonymousName() : name;
    checkVolumeName(own);
    return this.#describe(own, await volumes.create(own, { labels, driverOpts, anonymous }));
  }

  list(): Promise<Volume[]> {
    const { volumes } = this.#modules;
    return Promise.resolve(
      volumes.names().flatMap((name) => {
        const record = volumes.read(name);
        return record === undefined ? [] : [this.#describe(name, record)];
      }),
    );
  }

  async inspect(name: string, options: { size?: boolean } = {}): Promise<Volume> {
    const volume = this.#find(name);
    if (volume === undefined) throw noSuchVolume(name);
    if (options.size !== true) return volume;
    return { ...volume, sizeBytes: await this.#measure(name) };
  }

  async remove(name: string, options: { force?: boolean } = {}): Promise<void> {
    const volume = this.#find(name);
    if (volume === undefined) {
      if (options.force === true) return;
      throw noSuchVolume(name);
    }
    if (this.#isUsed(volume)) {
      const users = volume.usedBy.length > 0 ? volume.usedBy.join(', ') : 'one that is being made';
      throw new HatobaError(
        'failed-precondition',
        `volume ${name} is used by container ${users}; remove the container first`,
      );
    }
    await this.#modules.volumes.remove(name);
  }

  async prune(options: { all?: boolean }): Promise<Pruned> {
    const removed: string[] = [];
    let reclaimedBytes = 0;
    for (const volume of await this.list()) {
      if (this.#isUsed(volume) || !(volume.anonymous || options.all === true)) continue;
      const sizeBytes = await this.#measure(volume.name);
      // Somebody may have taken it while it was measured.
      const now = this.#find(volume.name);
      if (now === undefined || this.#isUsed(now)) continue;
      await this.#modules.volumes.remove(volume.name);
      removed.push(volume.name);
      reclaimedBytes += sizeBytes;
    }
    return { removed, reclaimedBytes };
  }

  #find(name: string): Volume | undefined {
    checkVolumeName(name);
    const record = this.#modules.volumes.read(name);
    return record === undefined ? undefined : this.#describe(name, record);
  }

  /** Of containers, running or not, and of those that are just being made. */
  #isUsed(volume: Volume): boolean {
    return volume.usedBy.length > 0 || this.#modules.volumes.usersOf(volume.name).length > 0;
  }

  #measure(name: string): Promise<number> {
    return this.#modules.threads.measure([this.#modules.volumes.dataOf(name)]);
  }

  #describe(name: string, record: VolumeRecord): Volume {
    const { volumes } = this.#modules;
    return {
      name,
      driver: 'local',
      mountpoint: volumes.dataOf(name),
      labels: { ...record.labels },
      createdAtMs: record.createdAtMs,
      anonymous: record.anonymous,
      usedBy: [...volumes.holdersOf(name)],
      driverOpts: { ...record.driverOpts },
    };
  }
}

function noSuchVolume(name: string): HatobaError {
  return new HatobaError('not-found', `there is no volume ${name} on this machine`);
}
