import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { Files } from '../../linux/ports.js';
import { ContentStore } from '../content/content-store.js';
import { LayerStore } from '../content/layer-store.js';
import { Limiter } from '../content/limiter.js';
import { PartialBlobs } from '../content/partial-blobs.js';
import { Unpacker } from '../content/unpacker.js';
import type { Digest } from '../core/digest.js';
import type { ImageUser } from '../core/image-removal.js';
import { platformOf } from '../core/manifest.js';
import type { EventSink } from '../events/event-bus.js';
import { BlobOrigins } from './blob-origins.js';
import { ImageCatalog } from './catalog.js';
import { fileCredentials } from './credentials-source.js';
import { ImageIndex } from './image-index.js';
import { ImageStore } from './image-store.js';
import { LastUse } from './last-use.js';
import { Leases } from './leases.js';
import { Puller } from './pull.js';
import { Pusher } from './push.js';
import { Reclaimer } from './reclaimer.js';
import { RegistryClient } from './registry-client.js';
import { ImageTransfers } from './transfers.js';

export interface ImageStoreOptions {
  /** The engine's root: holds blobs/, layers/, images/ and staging/ of this store. */
  readonly root: string;
  readonly kernel: { readonly files: Pick<Files, 'mknod' | 'setXattr' | 'syncFilesystem'> };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default: Node's own. */
  readonly fetch?: typeof fetch;
  /** Registries without TLS besides those on loopback: "host", "host:port", "10.0.0.0/8". */
  readonly insecureRegistries: readonly string[];
  /** Registry → addresses asked before it: {"docker.io": ["http://10.0.0.5:5000"]}. */
  readonly registryMirrors?: Readonly<Record<string, readonly string[]>>;
  /** Credentials for calls that bring none, in the format of docker's config.json; may be missing. */
  readonly credentialsFile?: string;
  /** What the rest of the engine says of images; without it nobody uses any. */
  readonly surroundings?: ImageSurroundings;
}

/** How images hang together with the rest of the engine. */
export interface ImageSurroundings {
  readonly events: EventSink;
  /** The containers made from an image. */
  readonly usersOf: (id: Digest) => readonly ImageUser[];
  /** The layers below the root file systems of containers. */
  readonly containerLayers: () => Promise<readonly Digest[]>;
  /** What those are made with: "overlay". */
  readonly snapshotter: () => string;
}

const NO_SURROUNDINGS: ImageSurroundings = {
  events: { emit: () => undefined },
  usersOf: () => [],
  containerLayers: () => Promise.resolve([]),
  snapshotter: () => 'overlay',
};

/** As many as Docker: more would only divide the line. */
const PARALLEL_DOWNLOADS = 3;

/**
 * Opens the images below `root`, and deletes what an interrupted load or pull left. One process at
 * a time may have a root open.
 */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const { root, kernel, clock, random, logger, insecureRegistries } = options;
  const content = await ContentStore.open(root);
  const unpacker = new Unpacker({ clock });
  const layers = await LayerStore.open(root, {
    content,
    unpacker,
    files: kernel.files,
    clock,
    logger,
  });
  const index = await ImageIndex.open(root, { content, layers, logger });
  const registry = new RegistryClient({
    fetch: options.fetch ?? fetch,
    clock,
    random,
    insecureRegistries,
    mirrors: options.registryMirrors ?? {},
    credentials: fileCredentials(options.credentialsFile),
  });
  const platform = platformOf(process.arch);
  const loader = { content, layers, index, clock, platform };
  const partials = await PartialBlobs.open(root, content);
  const origins = await BlobOrigins.open(root, { content, logger });
  const downloads = new Limiter(PARALLEL_DOWNLOADS);
  const puller = new Puller({ ...loader, registry, partials, origins, downloads });
  const pusher = new Pusher({ registry, content, layers, origins });
  const surroundings = options.surroundings ?? NO_SURROUNDINGS;
  const leases = new Leases();
  const reclaimer = new Reclaimer({ content, layers, index, leases, ...surroundings });
  const lastUse = await LastUse.open(index.dir, { clock, logger });
  const { events } = surroundings;
  const stores = { content, layers, index, leases, reclaimer, lastUse, partials, events };
  const catalog = new ImageCatalog({ ...surroundings, ...stores, clock });
  const transfers = new ImageTransfers({ ...stores, catalog, loader, puller, pusher, logger });
  return new ImageStore({ ...stores, catalog, transfers, registry, unpacker, platform, clock });
}
