import { statfs } from 'node:fs/promises';
import type { Clock } from '../../common/clock.js';
import { reportDisk, type MeasuredGroup } from '../core/disk-report.js';
import { planGarbage, type DiskSpace } from '../core/garbage-plan.js';
import type {
  Containers,
  EngineDiskUsage,
  EngineEvent,
  EngineSystem,
  EngineVolumes,
  GarbageRules,
  Pruned,
} from '../engine.js';
import type { EventBus } from '../events/event-bus.js';
import type { ImageGarbage } from '../image/image-garbage.js';
import { DiskMeter } from './disk-meter.js';

/** The folders below the engine's root that disk usage tells apart. */
const GROUPS = {
  layers: 'layers',
  blobs: 'blobs/sha256',
  volumes: 'volumes',
  containers: ['containers', 'snapshots', 'exits'],
  partial: ['partial', 'staging'],
} as const;

const NOTHING: MeasuredGroup = { ownBytes: 0, members: new Map() };

export interface EngineSystemModules {
  readonly root: string;
  readonly rules: GarbageRules;
  readonly images: Pick<ImageGarbage, 'inventory' | 'removeImage' | 'removeLeftovers' | 'facts'>;
  readonly containers: Pick<Containers, 'list' | 'prune'>;
  readonly volumes: Pick<EngineVolumes, 'list'>;
  readonly events: EventBus;
  readonly clock: Clock;
  /** Default: of the file system the root is on. */
  readonly diskSpace?: () => Promise<DiskSpace>;
}

/** Disk usage, garbage and events of one engine; see the port for the contract. */
export class LocalEngineSystem implements EngineSystem {
  readonly #modules: EngineSystemModules;
  readonly #meter: DiskMeter;

  constructor(modules: EngineSystemModules) {
    this.#modules = modules;
    this.#meter = new DiskMeter(modules.root, Object.values(GROUPS).flat());
  }

  async diskUsage(): Promise<EngineDiskUsage> {
    const { images, containers, volumes } = this.#modules;
    const { groups, otherBytes } = await this.#meter.measure();
    const group = (name: string): MeasuredGroup => groups.get(name) ?? NOTHING;
    const disk = {
      layers: group(GROUPS.layers),
      blobs: group(GROUPS.blobs),
      containers: GROUPS.containers.map(group),
      volumes: group(GROUPS.volumes),
      partial: GROUPS.partial.map(group),
      otherBytes,
    };
    const listedVolumes = await volumes.list();
    return reportDisk(disk, {
      images: images.facts(),
      containers: containers.list().map(({ config, status }) => ({
        id: config.id,
        isRunning: status !== 'created' && status !== 'exited',
      })),
      volumes: listedVolumes.map(({ name, usedBy }) => ({ name, isUsed: usedBy.length > 0 })),
      ...(await this.#diskSpace()),
    });
  }

  async collectGarbage(signal?: AbortSignal): Promise<Pruned> {
    const { images, containers, rules, clock } = this.#modules;
    const removed: string[] = [];
    let reclaimedBytes = 0;
    const add = (done: Pruned): void => {
      removed.push(...done.removed);
      reclaimedBytes += done.reclaimedBytes;
    };
    if (rules.containerMaxAgeMs !== undefined) {
      add(await containers.prune({ olderThanMs: rules.containerMaxAgeMs }));
    }
    signal?.throwIfAborted();
    const inventory = await images.inventory();
    const plan = planGarbage(inventory, rules, await this.#diskSpace(), clock.nowMs());
    if (plan.leftovers.length > 0) {
      const done = await images.removeLeftovers(plan.leftovers);
      add({ removed: done.removed, reclaimedBytes: done.bytes });
    }
    for (const id of plan.images) {
      signal?.throwIfAborted();
      const done = await images.removeImage(id);
      if (done !== undefined) add({ removed: [id], reclaimedBytes: done.bytes });
    }
    return { removed, reclaimedBytes };
  }

  onEvent(listener: (event: EngineEvent) => void): () => void {
    return this.#modules.events.onEvent(listener);
  }

  recentEvents(): readonly EngineEvent[] {
    return this.#modules.events.recent();
  }

  async #diskSpace(): Promise<DiskSpace> {
    const { diskSpace, root } = this.#modules;
    if (diskSpace !== undefined) return await diskSpace();
    const { bavail, blocks, bsize } = await statfs(root);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  }
}
