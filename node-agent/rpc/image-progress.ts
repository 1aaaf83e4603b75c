import { sleep, type Clock } from '../../common/clock.js';
import type { ImageProgress } from '../../proto/gen/hatoba/v1/agent.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import type { TransferProgress } from '../executor/local-engine.js';

/** Progress is told at most this often. */
const INTERVAL_MS = 100;

/**
 * Runs `work` and yields its progress: of each layer the newest, not every step. A slow reader
 * gets fewer messages and slows nothing down.
 * @returns the result of the work
 * @throws what the work throws
 */
export async function* progressOf<T>(
  clock: Clock,
  work: (onProgress: (progress: TransferProgress) => void) => Promise<T>,
): AsyncGenerator<TransferProgress, T, undefined> {
  const news = new Map<string, TransferProgress>();
  let wake = (): void => undefined;
  const end = new AbortController();
  const result = work((progress) => {
    news.set(progress.layer, progress);
    wake();
  }).finally(() => {
    end.abort();
    wake();
  });
  result.catch(() => undefined); // awaited below, after the news
  while (!end.signal.aborted || news.size > 0) {
    if (news.size === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const batch = [...news.values()];
    news.clear();
    yield* batch;
    if (!end.signal.aborted) await sleep(clock, INTERVAL_MS, end.signal).catch(() => undefined);
  }
  return await result;
}

/**
 * The progress of pulling or pushing an image as messages; the last one is of the image as a whole
 * and holds it.
 * @param node whose image it is
 */
export async function* transferMessages(
  node: { nodeId: string; hostname: string },
  clock: Clock,
  work: (onProgress: (progress: TransferProgress) => void) => Promise<Image>,
): AsyncGenerator<ImageProgress, void, undefined> {
  const progress = progressOf(clock, work);
  const base = { ...node, image: undefined, err: '' };
  for (;;) {
    const next = await progress.next();
    if (next.done !== true) {
      yield { ...base, ...next.value };
      continue;
    }
    const image = next.value;
    const { sizeBytes } = image;
    const done = { layer: '', status: 'done', currentBytes: sizeBytes, totalBytes: sizeBytes };
    yield { ...base, ...done, image };
    return;
  }
}
