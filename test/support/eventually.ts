/** A slow machine that does other things too needs no more; a broken test need not wait for longer. */
const PATIENCE_MS = 60_000;

/**
 * Calls `probe` until it returns without throwing, and returns its result: how integration tests
 * wait for the kernel and for other processes. Takes as long as the machine needs: what must be
 * quick is for benchmarks.
 * @throws what the probe threw last, once `timeoutMs` is over
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  const { timeoutMs = PATIENCE_MS, everyMs = 20 } = options;
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await probe();
    } catch (error) {
      if (Date.now() >= deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
