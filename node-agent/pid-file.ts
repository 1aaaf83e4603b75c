import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HatobaError } from '../common/errors.js';

/**
 * Notes this process in `<runDir>/agent.pid`; ended, the file is gone.
 * @throws {HatobaError} failed-precondition while another agent has it: two on one folder would
 *   fight over its containers
 */
export async function takePidFile(runDir: string): Promise<AsyncDisposable> {
  const path = join(runDir, 'agent.pid');
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  const pid = Number(await readFile(path, 'utf8').catch(() => ''));
  if (pid > 0 && pid !== process.pid && (await isAgent(pid))) {
    throw new HatobaError(
      'failed-precondition',
      `an agent runs already (pid ${pid}, by ${path}): stop it first`,
    );
  }
  await writeFile(path, `${process.pid}\n`);
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

/** A pid alone may have gone to another program since. */
async function isAgent(pid: number): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return /^hatoba-agent|node-agent\/main\.[jt]s/.test(command);
}
