import { accessSync, constants } from 'node:fs';
import type { Context } from 'mocha';

/** Skips the test, saying why, where it cannot run; a skipped test is never counted as passed. */
export function skip(test: Context, reason: string): void {
  const runnable = test.test ?? test.currentTest;
  if (runnable !== undefined) runnable.title += ` (skipped: ${reason})`;
  test.skip();
}

export function requiresRoot(test: Context): void {
  if (process.getuid?.() !== 0) skip(test, 'needs root');
}

/** @param command a program on the PATH, such as "crun" */
export function requiresCommand(test: Context, command: string): void {
  const folders = [
    '/usr/sbin',
    '/usr/bin',
    '/sbin',
    '/bin',
    ...(process.env['PATH'] ?? '').split(':'),
  ];
  const found = folders.some((folder) => {
    try {
      accessSync(`${folder}/${command}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) skip(test, `needs ${command}`);
}
