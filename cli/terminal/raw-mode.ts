import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { UsageError } from '../failure.js';

/** What ends a process that does not listen to it, without the "exit" event. */
const DEADLY = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'] as const;

/**
 * For a program with a terminal that is fed from here: without one here, it would never see an end.
 * @throws {UsageError}
 */
export function requireTerminal(): void {
  if (process.stdin.isTTY) return;
  throw new UsageError('stdin is not a terminal: leave out -t (--tty), or use a terminal');
}

/**
 * Every key goes to the program on the other side, until the returned function is called. However
 * this process ends before that, by an error or a signal, the terminal is put back first. Nothing
 * happens where stdin is no terminal.
 */
export function enterRawMode(): () => void {
  const { stdin } = process;
  if (!stdin.isTTY) return () => undefined;
  const restore = (): void => {
    if (stdin.isRaw) stdin.setRawMode(false);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    restore();
    process.exit(128 + constants.signals[signal]);
  };
  stdin.setRawMode(true);
  // Node leaves the translation of line ends on, which the other side has done already: a program
  // that moves the cursor down by a line feed must not find it at the left edge.
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
  process.on('exit', restore);
  for (const name of DEADLY) process.on(name, onSignal);
  return () => {
    restore();
    process.off('exit', restore);
    for (const name of DEADLY) process.off(name, onSignal);
  };
}
