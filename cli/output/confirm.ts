import { createInterface } from 'node:readline/promises';
import { ExitCodeError, UsageError } from '../failure.js';

/**
 * Asks before something is removed that cannot be had back. Returns when the answer is yes.
 * @param force says yes beforehand
 * @throws {ExitCodeError} on any other answer
 * @throws {UsageError} where nobody is there to be asked
 */
export async function confirm(what: string, force: boolean): Promise<void> {
  if (force) return;
  if (!process.stdin.isTTY) {
    throw new UsageError(`${what}\nNobody can be asked here: add --force to say yes`);
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`${what}\nGo on? [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new ExitCodeError(1);
  } finally {
    prompt.close();
  }
}
