/**
 * Unpacks a blob of a content store as a layer, in a process of its own, and kills itself at a point
 * of the way: "progress N", "before sync", or "after sync N" turns of the event loop.
 */
import { systemClock } from '../../common/adapters/system-clock.js';
import { silentLogger } from '../../common/logger.js';
import { openKernel } from '../../linux/kernel.js';
import { ContentStore } from '../../runtime/content/content-store.js';
import { LayerStore } from '../../runtime/content/layer-store.js';
import { Unpacker } from '../../runtime/content/unpacker.js';
import { toDigest } from '../../runtime/core/digest.js';

const [root = '', digest = '', point = '', count = '0'] = process.argv.slice(2);

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

const kernel = await openKernel({
  onFailure: (error) => {
    throw error;
  },
});
const layers = await LayerStore.open(root, {
  content: await ContentStore.open(root),
  unpacker: new Unpacker({ clock: systemClock }),
  files: {
    async syncFilesystem(path) {
      if (point === 'before-sync') die();
      await kernel.files.syncFilesystem(path);
      if (point === 'after-sync') dieAfterTurns(Number(count));
    },
  },
  clock: systemClock,
  logger: silentLogger,
});
let told = 0;
await layers.ensure(toDigest(digest), toDigest(digest), {
  onProgress: () => {
    if (point === 'progress' && ++told === Number(count)) die();
  },
});
die();

function dieAfterTurns(turns: number): void {
  if (turns === 0) die();
  else setImmediate(dieAfterTurns, turns - 1);
}
