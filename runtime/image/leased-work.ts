import type { Logger } from '../../common/logger.js';
import type { ContentStore } from '../content/content-store.js';
import { explainFullDisk } from '../content/durable-file.js';
import type { Digest } from '../core/digest.js';
import type { ImageCatalog } from './catalog.js';
import type { KnownImage } from './image-record.js';
import type { Lease, Leases } from './leases.js';
import type { Reclaimer } from './reclaimer.js';

export interface LeaseModules {
  readonly leases: Leases;
  readonly reclaimer: Reclaimer;
  readonly content: ContentStore;
  readonly logger: Logger;
}

/**
 * Does what brings parts of images, or needs them: a removal beside it leaves those alone.
 * @param tidy called at the end with what was held and is not any more; with the error, if it failed
 */
export async function withLease<T>(
  { leases, content, logger }: Omit<LeaseModules, 'reclaimer'>,
  work: (lease: Lease) => Promise<T>,
  tidy: (held: readonly Digest[], error: unknown) => Promise<unknown>,
): Promise<T> {
  const lease = leases.open();
  let error: unknown;
  try {
    return await work(lease);
  } catch (cause) {
    error = explainFullDisk(cause, content.root);
    throw error;
  } finally {
    const { held } = lease;
    lease.release();
    // what was done is done, and why it failed matters more; garbage collection finds what is left
    await tidy(held, error).catch((untidied: unknown) => {
      logger.warn('Could not delete what nothing needs', { root: content.root }, untidied);
    });
  }
}

/**
 * An image none of whose parts can be removed while the lease lasts.
 * @throws {HatobaError} not-found
 */
export async function holdImage(
  reference: string,
  lease: Lease,
  { catalog, reclaimer }: { catalog: ImageCatalog; reclaimer: Reclaimer },
): Promise<KnownImage> {
  const { id } = catalog.mustFind(reference).record;
  await lease.hold(id);
  const known = catalog.mustFind(id);
  const { blobs, layers } = reclaimer.candidatesOf(known);
  await lease.hold(...blobs, ...layers);
  return catalog.mustFind(id); // a removal may have come before the lease was whole
}
