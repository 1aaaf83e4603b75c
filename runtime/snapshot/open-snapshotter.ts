import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Kernel } from '../../linux/ports.js';
import { removeTree } from '../content/remove-tree.js';
import { openCopySnapshotter } from './copy.js';
import { openOverlaySnapshotter } from './overlay.js';
import type { Snapshotter } from './snapshotter.js';

export interface OpenSnapshotterModules {
  readonly kernel: Pick<Kernel, 'mounts' | 'files'>;
  readonly logger: Logger;
}

/**
 * Opens the snapshots below `root` with the snapshotter asked for, or the best that works there.
 * @param root the engine's root
 */
export async function openSnapshotter(
  root: string,
  wanted: Snapshotter['name'] | undefined,
  { kernel, logger }: OpenSnapshotterModules,
): Promise<Snapshotter> {
  const { mounts, files } = kernel;
  if (wanted !== undefined) {
    return wanted === 'overlay'
      ? await openOverlaySnapshotter({ root, mounts })
      : await openCopySnapshotter({ root, files });
  }
  try {
    await probeOverlay(root, kernel);
  } catch (error) {
    logger.warn('Copying layers, as overlayfs does not work here', {
      folder: root,
      reason: describeError(error),
    });
    return await openCopySnapshotter({ root, files });
  }
  return await openOverlaySnapshotter({ root, mounts });
}

/**
 * Does once what every container will need: mounts an overlay with both folders on the file system
 * of `root`, and writes the attributes that overlayfs marks directories with.
 * @throws {HatobaError} saying what does not work
 */
async function probeOverlay(root: string, kernel: Pick<Kernel, 'mounts' | 'files'>): Promise<void> {
  const dir = join(root, '.overlay-probe');
  const [lower = '', upper = '', work = '', target = ''] = ['lower', 'upper', 'work', 'target'].map(
    (name) => join(dir, name),
  );
  await cleanProbe(dir, kernel);
  try {
    for (const folder of [lower, upper, work, target]) await mkdir(folder, { recursive: true });
    await kernel.files.setXattr(lower, 'trusted.overlay.opaque', Buffer.from('y'));
    await kernel.files.mknod(join(lower, 'whiteout'), S_IFCHR, 0, 0);
    await kernel.mounts.overlay({ lowerDirs: [lower], upperDir: upper, workDir: work, target });
    await mkdir(join(target, 'made')); // read-only where the upper folder's file system cannot be one
  } finally {
    await cleanProbe(dir, kernel);
  }
}

const S_IFCHR = 0o020000;

async function cleanProbe(dir: string, kernel: Pick<Kernel, 'mounts'>): Promise<void> {
  await kernel.mounts.unmount(join(dir, 'target'));
  await removeTree(dir);
}
