import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../common/adapters/system-clock.js';
import { silentLogger } from '../../common/logger.js';
import { openKernel } from '../../linux/kernel.js';
import type { Kernel } from '../../linux/ports.js';
import type { ImageStore } from '../../runtime/image/image-store.js';
import { openImageStore, type ImageStoreOptions } from '../../runtime/image/open-image-store.js';
import { openSnapshotter } from '../../runtime/snapshot/open-snapshotter.js';
import type { Snapshotter } from '../../runtime/snapshot/snapshotter.js';
import { seededRandom } from './seeded-random.js';

export interface ImageRigOptions extends Partial<ImageStoreOptions> {
  snapshotter?: Snapshotter['name'];
}

/** An image store and its snapshots on the real kernel, in a folder of their own. */
export class ImageRig {
  readonly root: string;
  readonly kernel: Kernel;
  #images: ImageStore;
  #snapshots: Snapshotter;
  readonly #options: ImageRigOptions;

  private constructor(parts: {
    root: string;
    kernel: Kernel;
    images: ImageStore;
    snapshots: Snapshotter;
    options: ImageRigOptions;
  }) {
    this.root = parts.root;
    this.kernel = parts.kernel;
    this.#images = parts.images;
    this.#snapshots = parts.snapshots;
    this.#options = parts.options;
  }

  static async open(options: ImageRigOptions = {}): Promise<ImageRig> {
    const root = options.root ?? mkdtempSync('/var/tmp/ht-images-');
    const kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    const images = await openStore(root, kernel, options);
    const snapshots = await openSnapshots(root, kernel, options);
    return new ImageRig({ root, kernel, images, snapshots, options });
  }

  get images(): ImageStore {
    return this.#images;
  }

  get snapshots(): Snapshotter {
    return this.#snapshots;
  }

  /** As a new process would find it. */
  async reopen(): Promise<void> {
    await this.#images[Symbol.asyncDispose]();
    this.#images = await openStore(this.root, this.kernel, this.#options);
    this.#snapshots = await openSnapshots(this.root, this.kernel, this.#options);
  }

  path(...parts: readonly string[]): string {
    return join(this.root, ...parts);
  }

  async close(): Promise<void> {
    for (const id of await this.#snapshots.list()) await this.#snapshots.remove(id);
    await this.#images[Symbol.asyncDispose]();
    await this.kernel[Symbol.asyncDispose]();
    rmSync(this.root, { recursive: true });
  }
}

function openSnapshots(
  root: string,
  kernel: Kernel,
  { snapshotter = 'overlay' }: ImageRigOptions,
): Promise<Snapshotter> {
  return openSnapshotter(root, snapshotter, { kernel, logger: silentLogger });
}

async function openStore(
  root: string,
  kernel: Kernel,
  { snapshotter: _, ...options }: ImageRigOptions,
): Promise<ImageStore> {
  return await openImageStore({
    root,
    kernel,
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
    insecureRegistries: [],
    ...options,
  });
}
