/**
 * Runs every step, also after one that failed: all that a test has made goes, whatever went wrong.
 * @throws the first failure
 */
export async function cleanUp(...steps: readonly (() => unknown)[]): Promise<void> {
  const failures: Error[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error instanceof Error ? error : new Error(String(error)));
    }
  }
  if (failures[0] !== undefined) throw failures[0];
}

/** Kills a process that may have ended by itself just now. */
export function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
