import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { HatobaError } from '../../common/errors.js';

const run = promisify(execFile);

/**
 * Runs a program without a shell and returns its stdout.
 * @throws {HatobaError} internal with what it wrote to stderr
 */
export async function command(file: string, args: readonly string[]): Promise<string> {
  try {
    const options = {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      timeout: 20_000,
    };
    return (await run(file, args, options)).stdout;
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new HatobaError('internal', `${file} ${args.join(' ')}: ${stderr}`, { cause: error });
  }
}

/** Runs a step that may find its work done already: a failure whose text matches is success. */
export async function commandUnless(
  alreadySo: RegExp,
  file: string,
  args: readonly string[],
): Promise<void> {
  try {
    await command(file, args);
  } catch (error) {
    if (!(error instanceof Error && alreadySo.test(error.message))) throw error;
  }
}
