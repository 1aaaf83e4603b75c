import type { TerminalSize } from '../../proto/gen/hatoba/v1/agent.js';

/** Of the terminal this process writes to; undefined without one. */
export function windowSize(): TerminalSize | undefined {
  const terminal = [process.stdout, process.stderr].find((stream) => stream.isTTY);
  return terminal === undefined ? undefined : { rows: terminal.rows, columns: terminal.columns };
}

/** Tells of each change of size until the returned function is called. */
export function onWindowSize(listener: (size: TerminalSize) => void): () => void {
  const onChange = (): void => {
    const size = windowSize();
    if (size !== undefined) listener(size);
  };
  // Node asks the terminal for its size first, then tells.
  const terminal = process.stdout.isTTY ? process.stdout : process.stderr;
  terminal.on('resize', onChange);
  return () => terminal.off('resize', onChange);
}
