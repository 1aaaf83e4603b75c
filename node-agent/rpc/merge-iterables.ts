/**
 * The items of several sources as they come; of each source at most one item is read ahead. Ends
 * when all have ended.
 * @throws what a source throws; the others are then closed
 */
export async function* mergeIterables<T>(
  sources: readonly AsyncIterable<T>[],
): AsyncGenerator<T, void, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const read = (index: number): Promise<{ index: number; result: IteratorResult<T, unknown> }> => {
    const iterator = iterators[index];
    if (iterator === undefined) return Promise.reject(new RangeError(`no source ${index}`));
    return iterator.next().then((result) => ({ index, result }));
  };
  const pending = new Map(iterators.map((_, index) => [index, read(index)]));
  // Each promise is awaited by a race, perhaps only after it has failed.
  for (const promise of pending.values()) promise.catch(() => undefined);
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done === true) {
        pending.delete(index);
        continue;
      }
      yield result.value;
      const next = read(index);
      next.catch(() => undefined);
      pending.set(index, next);
    }
  } finally {
    // Not awaited: a source that is being read closes only once that read has ended.
    for (const index of pending.keys()) {
      iterators[index]?.return?.().catch(() => undefined);
    }
  }
}
